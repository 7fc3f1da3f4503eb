// Every metric of weftd but those of the process: name, help and where the number comes from.
#include "daemon/admin/metrics.h"

#include <weft/base/limits.h>
#include <weft/runtime/event_loop.h>
#include <weft/runtime/frame_allocator.h>

#include "daemon/admin/process_metrics.h"

namespace weft {
namespace {

double number(auto value) { return static_cast<double>(value); }
double seconds(int64_t ns) { return static_cast<double>(ns) / 1e9; }

}  // namespace

std::vector<prometheus::MetricFamily> Metrics::Collect() const {
  MetricFamilies families;
  families.gauge("weft_build_info", "1; the label is the version.", 1,
                 {{"version", sources_.version}});
  add_jobs(families);
  families.gauge("weft_slots", "Jobs that may run at once; 0: this process runs none.",
                 number(sources_.slots));
  if (sources_.worker != nullptr) add_worker(families);
  add_executor(families);
  add_loop(families);
  add_streams(families);
  add_store(families);
  add_schedules(families);
  add_calls(families);
  add_admin(families);
  add_process_metrics(families);
  return families.take();
}

void Metrics::add_jobs(MetricFamilies& families) const {
  const StoreStats stats = sources_.store->stats();
  const std::string help = "Jobs in the store, by state; finished ones as long as they are kept.";
  families.gauge("weft_jobs", help, number(stats.scheduled_jobs), {{"state", "scheduled"}});
  families.gauge("weft_jobs", help, number(stats.queued_jobs), {{"state", "queued"}});
  families.gauge("weft_jobs", help, number(stats.running_jobs), {{"state", "running"}});
  families.gauge("weft_jobs", help, number(stats.succeeded_jobs), {{"state", "succeeded"}});
  families.gauge("weft_jobs", help, number(stats.dead_jobs), {{"state", "dead"}});
  families.gauge("weft_jobs", help, number(stats.cancelled_jobs), {{"state", "cancelled"}});
  families.gauge("weft_jobs", help, number(stats.expired_jobs), {{"state", "expired"}});
  families.counter("weft_jobs_submitted_total", "Jobs accepted as new since the start.",
                   number(stats.submitted_jobs));
  families.gauge("weft_queue_queued_jobs_limit", "Queued jobs that one queue may hold.",
                 number(limits::kQueuedPerQueue));
  families.gauge("weft_queue_finished_jobs_limit", "Finished jobs that are kept of one queue.",
                 number(limits::kFinishedPerQueue));
  families.gauge("weft_suspect_jobs",
                 "Queued or running jobs during which workers died several times.",
                 number(stats.suspect_jobs));
  families.counter("weft_jobs_removed_total", "Finished jobs forgotten by retention.",
                   number(stats.removed_jobs));
}

void Metrics::add_worker(MetricFamilies& families) const {
  const WorkerStats stats = sources_.worker->stats();
  const WorkerMetrics metrics = sources_.worker->metrics();
  for (const TypeMetrics& type : metrics.types) {
    families.counter("weft_jobs_started_total", "Attempts of jobs that this worker has begun.",
                     number(type.started), {{"type", type.type}});
  }
  for (const TypeMetrics& type : metrics.types) {
    const auto finished = [&](const char* outcome, uint64_t count) {
      families.counter("weft_jobs_finished_total", "Attempts that ended here, by outcome.",
                       number(count), {{"type", type.type}, {"outcome", outcome}});
    };
    finished("succeeded", type.succeeded);
    finished("dead", type.dead);
    finished("cancelled", type.cancelled);
    finished("retried", type.retried);
    finished("snoozed", type.snoozed);
    finished("released", type.released);
    finished("lease_lost", type.lease_lost);
  }
  for (const TypeMetrics& type : metrics.types) {
    const std::string name = "weft_worker_jobs";
    const std::string help = "Jobs here; those held wait for room beside others of their type.";
    families.gauge(name, help, number(type.running), {{"type", type.type}, {"state", "running"}});
    families.gauge(name, help, number(type.held), {{"type", type.type}, {"state", "held"}});
  }
  families.histogram("weft_job_wait_seconds",
                     "From when a job was due to the start of its first attempt.", metrics.wait);
  families.histogram("weft_job_run_seconds", "From the start of an attempt to its end.",
                     metrics.run);
  families.gauge("weft_slots_used", "Jobs that run and are not parked.", number(stats.slots_used));
  families.bounded("weft_resident_jobs", "Jobs this worker holds, parked ones included",
                   number(stats.resident), number(sources_.resident_jobs));
  families.bounded("weft_resident_bytes", "Payloads of those jobs", number(stats.resident_bytes),
                   number(limits::kResidentBytes));
  families.gauge("weft_stuck_jobs", "Jobs that go on 10 s after they were cancelled.",
                 number(stats.stuck));
  families.gauge("weft_suspects_running", "Suspect jobs that run here; at most one.",
                 number(stats.suspects_running));
  families.gauge("weft_settlements_pending", "Outcomes that wait for the store.",
                 number(stats.settlements_pending));
}

void Metrics::add_executor(MetricFamilies& families) const {
  const Executor& executor = *sources_.executor;
  const ExecutorStats stats = executor.stats();
  families.gauge("weft_executor_threads", "Threads for CPU work.", number(executor.threads()));
  families.gauge("weft_executor_running", "Pieces of work that run.", number(stats.running));
  families.bounded("weft_executor_queued", "Pieces of work that wait for a thread",
                   number(stats.queued), number(limits::kExecutorQueue));
  families.gauge("weft_executor_callers_waiting", "Tasks that wait for room in the queue.",
                 number(stats.callers_waiting));
  families.counter("weft_executor_finished_total", "Pieces of work done.", number(stats.finished));
  families.counter("weft_executor_refused_total", "Pieces of work refused by a full queue.",
                   number(stats.refused));
}

void Metrics::add_loop(MetricFamilies& families) const {
  const EventLoopStats& stats = EventLoop::current()->stats();
  families.counter("weft_loop_turns_total", "Turns of the loop.", number(stats.turns));
  families.counter("weft_loop_resumes_total", "Coroutines resumed.", number(stats.resumes));
  families.counter("weft_loop_polls_total", "Times the kernel was asked for events.",
                   number(stats.polls));
  families.histogram("weft_loop_lag_seconds", "Times in which the kernel was not asked.", stats.lag,
                     MetricBuckets::kFine);
  families.gauge("weft_loop_longest_busy_seconds",
                 "The longest time in which the kernel was not asked, since the start.",
                 seconds(stats.longest_busy_ns));
  const KeeperStats stalls = sources_.keeper->stats();
  families.counter("weft_loop_stalls_total", "Times a task held the loop for longer than --stall.",
                   number(stalls.stalls));
  families.gauge("weft_loop_longest_stall_seconds", "The longest of those, since the start.",
                 seconds(stalls.longest_stall_ns));
  families.gauge("weft_frames", "Coroutine frames alive.", number(live_frames()));
}

void Metrics::add_streams(MetricFamilies& families) const {
  const StreamHubStats stats = sources_.hub->stats();
  families.counter("weft_chunks_total", "Chunks stored.", number(stats.chunks_committed));
  families.counter("weft_chunk_bytes_total", "Bytes of those chunks.",
                   number(stats.bytes_committed));
  families.counter("weft_chunk_appends_total", "Appends that carried them to the store.",
                   number(stats.appends));
  families.gauge("weft_streams", "Streams that are written or read now.", number(stats.streams));
  families.gauge("weft_stream_producers", "Streams that are written now.", number(stats.producers));
  families.bounded("weft_stream_readers", "Watches and attaches", number(stats.readers),
                   number(limits::kReaders));
  families.counter("weft_stream_readers_detached_total",
                   "Readers sent away because they held a full stream for too long.",
                   number(stats.readers_detached));
  families.bounded("weft_live_tail_bytes", "Stored chunks that are kept in memory for readers",
                   number(stats.live_tail_bytes), number(limits::kLiveTailBytes));
}

void Metrics::add_store(MetricFamilies& families) const {
  const StoreStats stats = sources_.store->stats();
  families.gauge("weft_store_healthy", "1 while the store can commit.", stats.health.ok() ? 1 : 0);
  families.gauge("weft_store_admits", "1 while the disk has room enough for new jobs.",
                 stats.admission.ok() ? 1 : 0);
  families.counter("weft_store_commits_total", "Transactions.", number(stats.commits));
  families.counter("weft_store_operations_total", "Operations in those transactions.",
                   number(stats.operations));
  families.counter("weft_store_stale_tokens_total",
                   "Operations refused because another attempt has the job.",
                   number(stats.stale_tokens));
  if (sources_.store->shared()) add_shared_store(families, stats);
}

void Metrics::add_schedules(MetricFamilies& families) const {
  const ScheduleStats& stats = sources_.schedules->stats();
  families.bounded("weft_schedules", "Schedules in the store",
                   number(sources_.schedules->schedules()), number(limits::kSchedules));
  families.counter("weft_schedule_fired_total", "Jobs that this process has submitted for them.",
                   number(stats.fired));
  families.counter("weft_schedule_skipped_total", "Ticks that it has left out.",
                   number(stats.skipped));
  families.histogram("weft_schedule_lateness_seconds", "From a tick to its job.", stats.lateness);
}

void Metrics::add_shared_store(MetricFamilies& families, const StoreStats& stats) const {
  families.counter("weft_store_connects_total",
                   "Connections to the store's server that have begun.", number(stats.connects));
  families.counter("weft_store_timeouts_total",
                   "Those that were closed because an answer did not come.",
                   number(stats.timeouts));
  families.counter("weft_store_commands_total", "Commands sent to it.", number(stats.commands));
  families.counter("weft_store_pushes_total", "News received from other processes through it.",
                   number(stats.pushes));
  for (const auto& [kind, count] : stats.refusals) {
    families.counter("weft_store_refusals_total", "Commands that it refused, by its word.",
                     number(count), {{"kind", kind}});
  }
  families.counter("weft_leases_lost_total",
                   "Times this process was given up by others while it was alive.",
                   number(stats.lease_losses));
  families.counter("weft_leases_expired_total",
                   "Processes that were given up by this one, and whose jobs were queued again.",
                   number(stats.leases_expired));
  families.counter("weft_keeper_renewals_total",
                   "Renewals of the lease while a task held the loop.",
                   number(sources_.keeper->stats().renewals));
}

void Metrics::add_calls(MetricFamilies& families) const {
  const CallMetrics calls = sources_.calls();
  families.bounded("weft_grpc_connections", "gRPC connections", number(calls.connections),
                   number(calls.connections_limit));
  families.counter("weft_grpc_connections_refused_total", "gRPC connections beyond the limit.",
                   number(calls.connections_refused));
  families.bounded("weft_grpc_calls", "gRPC calls in flight", number(calls.calls),
                   number(calls.calls_limit));
  families.counter("weft_grpc_calls_started_total", "gRPC calls that have arrived.",
                   number(calls.calls_arrived));
  families.counter("weft_grpc_calls_refused_total", "gRPC calls beyond the limits.",
                   number(calls.calls_refused));
  for (const FinishedCallMetrics& finished : calls.finished) {
    families.counter("weft_grpc_calls_finished_total", "gRPC calls that are over, by their code.",
                     number(finished.count),
                     {{"method", finished.method}, {"code", finished.code}});
  }
  families.bounded("weft_grpc_held_bytes", "Requests and answers that calls hold",
                   number(calls.held_bytes), number(calls.held_bytes_limit));
}

void Metrics::add_admin(MetricFamilies& families) const {
  const HttpServerStats stats = sources_.admin();
  families.bounded("weft_admin_connections", "Connections to the admin pages",
                   number(stats.connections), number(limits::kAdminConnections));
  families.counter("weft_admin_connections_refused_total", "Those beyond a limit.",
                   number(stats.connections_refused));
  families.counter("weft_admin_requests_total", "Requests for admin pages.",
                   number(stats.requests));
  families.counter("weft_admin_timeouts_total", "Connections closed for being slow or idle.",
                   number(stats.timeouts));
  families.counter("weft_log_lines_dropped_total",
                   "Log lines dropped because stderr was not read fast enough.",
                   number(sources_.log_lines_dropped()));
}

}  // namespace weft
