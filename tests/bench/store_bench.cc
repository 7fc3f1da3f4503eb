// Measures a store alone, without gRPC: whole jobs and chunks per second.
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <weft/base/limits.h>
#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>
#include <weft/store/store.h>

namespace weft {
namespace {

constexpr int64_t kRun_ns = 3'000'000'000;
constexpr Incarnation kWorker{1, 2};

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
double cpu_seconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

std::string wanted;  // part of the names of the measurements to run
int rounds = 0;      // so far

struct Counts {
  uint64_t done = 0;
  std::vector<double> latency_us;
};

v1::JobSpec make_spec() {
  v1::JobSpec spec;
  spec.set_queue("default");
  spec.set_type("echo");
  spec.set_payload(std::string(100, 'x'));
  return spec;
}

// One job after the other: submit, take, settle fused with the next take.
Task<void> whole_jobs(Store& store, int64_t end_ns, Counts* counts) {
  std::vector<Settlement> settlements;
  while (EventLoop::current()->exact_now_ns() < end_ns) {
    const double start = seconds();
    std::vector<v1::JobSpec> specs(1, make_spec());
    auto submitted = co_await store.submit(std::move(specs));
    if (!submitted[0].ok()) abort();
    TakeRequest take{.worker = kWorker, .worker_name = "bench", .max_jobs = 1};
    auto taken = co_await store.settle_and_take(std::exchange(settlements, {}), take);
    if (!taken.ok()) abort();
    counts->done += taken->settled.size();
    counts->latency_us.push_back((seconds() - start) * 1e6);
    for (const v1::Job& job : taken->jobs) {
      v1::Outcome outcome;
      outcome.set_result("ok");
      settlements.emplace_back(Token(job.spec().id(), job.attempt(), kWorker),
                               v1::JOB_STATE_SUCCEEDED, std::move(outcome), 0);
    }
  }
}

Task<void> submits(Store& store, int64_t end_ns, Counts* counts) {
  while (EventLoop::current()->exact_now_ns() < end_ns) {
    const double start = seconds();
    std::vector<v1::JobSpec> specs(1, make_spec());
    auto submitted = co_await store.submit(std::move(specs));
    if (!submitted[0].ok()) abort();
    ++counts->done;
    counts->latency_us.push_back((seconds() - start) * 1e6);
  }
}

Task<void> batch_submits(Store& store, int64_t end_ns, Counts* counts) {
  while (EventLoop::current()->exact_now_ns() < end_ns) {
    const double start = seconds();
    std::vector<v1::JobSpec> specs(100, make_spec());
    auto submitted = co_await store.submit(std::move(specs));
    if (!submitted[0].ok()) abort();
    counts->done += 100;
    counts->latency_us.push_back((seconds() - start) * 1e6);
  }
}

// A worker's drain: settle a batch, take a batch, in one step.
Task<void> drain(Store& store, size_t batch, Counts* counts) {
  std::vector<Settlement> settlements;
  while (true) {
    const double start = seconds();
    TakeRequest take{.worker = kWorker, .worker_name = "bench", .max_jobs = batch};
    auto taken = co_await store.settle_and_take(std::exchange(settlements, {}), take);
    if (!taken.ok()) abort();
    counts->done += taken->settled.size();
    counts->latency_us.push_back((seconds() - start) * 1e6);
    if (taken->jobs.empty()) co_return;
    for (const v1::Job& job : taken->jobs) {
      settlements.emplace_back(Token(job.spec().id(), job.attempt(), kWorker),
                               v1::JOB_STATE_SUCCEEDED, v1::Outcome(), 0);
    }
  }
}

// Chunks of 100 bytes: every turn one append of `batch` chunks over the jobs given.
Task<void> chunks(Store& store, std::vector<v1::Job> jobs, size_t batch, int64_t end_ns,
                  Counts* counts) {
  std::vector<uint64_t> next(jobs.size(), 1);
  const std::string chunk(100, 'c');
  const size_t each = std::max<size_t>(1, batch / jobs.size());
  while (EventLoop::current()->exact_now_ns() < end_ns) {
    const double start = seconds();
    std::vector<Append> appends;
    for (size_t i = 0; i < jobs.size() && i < batch; ++i) {
      auto block = std::make_shared<ChunkBlock>(next[i]);
      for (size_t n = 0; n < each; ++n) block->add(chunk);
      next[i] += each;
      appends.emplace_back(Token(jobs[i].spec().id(), jobs[i].attempt(), kWorker),
                           std::move(block));
    }
    const size_t appended = appends.size() * each;
    auto answers = co_await store.append(std::move(appends));
    if (!answers[0].ok()) abort();
    counts->done += appended;
    counts->latency_us.push_back((seconds() - start) * 1e6);
  }
}

void report(const char* what, size_t in_flight, Counts& counts, double wall, double cpu,
            const StoreStats& stats) {
  auto& latency = counts.latency_us;
  std::sort(latency.begin(), latency.end());
  const auto at = [&](double part) {
    return latency.empty()
               ? 0.0
               : latency[static_cast<size_t>(static_cast<double>(latency.size() - 1) * part)];
  };
  std::printf("%-28s %5zu %10.0f/s %7.2f us CPU  p50 %8.0f us  p99 %8.0f us  %6.1f ops/commit\n",
              what, in_flight, static_cast<double>(counts.done) / wall,
              cpu / static_cast<double>(counts.done) * 1e6, at(0.5), at(0.99),
              stats.commits == 0
                  ? 0.0
                  : static_cast<double>(stats.operations) / static_cast<double>(stats.commits));
  std::fflush(stdout);
}

template <typename Body>
void measure(const std::string& url, const char* what, size_t in_flight, Body body) {
  if (std::string(what).find(wanted) == std::string::npos) return;
  EventLoop loop;
  StoreOptions options;
  options.queued_per_queue = 10'000'000;
  options.finished_per_queue = options.queued_per_queue;  // forgetting them is not measured
  options.self = kWorker;
  options.prefix = "bench-" + std::to_string(getpid()) + "-" + std::to_string(++rounds);
  auto opened = open_store(url, options);
  if (!opened.ok()) {
    std::fprintf(stderr, "%s\n", opened.status().ToString().c_str());
    exit(1);
  }
  Store& store = **opened;
  Counts counts;
  double wall = 0;
  double cpu = 0;
  loop.run([](Store* s, Body run, Counts* c, double* w, double* p) -> Task<void> {
    auto beside = [&](TaskGroup& group) -> Task<void> {
      group.start([](Store* running) { return running->run(); }, s);
      while (!s->stats().health.ok()) co_await sleep_for(std::chrono::milliseconds(1));
      co_await run(*s, c, w, p);
      co_await s->close();
      group.cancel(CancelReason::kShutdown);
    };
    co_await with_group(beside);
  }(&store, body, &counts, &wall, &cpu));
  report(what, in_flight, counts, wall, cpu, store.stats());
}

template <typename Worker>
auto parallel(size_t in_flight, Worker worker) {
  return
      [in_flight, worker](Store& store, Counts* counts, double* wall, double* cpu) -> Task<void> {
        const double start = seconds();
        const double start_cpu = cpu_seconds();
        const int64_t end_ns = EventLoop::current()->exact_now_ns() + kRun_ns;
        auto body = [&](TaskGroup& group) -> Task<void> {
          for (size_t i = 0; i < in_flight; ++i)
            group.start(worker, std::ref(store), end_ns, counts);
          co_return;
        };
        co_await with_group(body);
        *wall = seconds() - start;
        *cpu = cpu_seconds() - start_cpu;
      };
}

// What waiting jobs cost: in memory once the file is opened, to open it, and to be promoted.
constexpr size_t kWaitingJobs = 1'000'000;
constexpr size_t kSubmitBatch = 1000;

double resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  double pages = 0;
  statm >> pages >> pages;
  return pages * static_cast<double>(sysconf(_SC_PAGESIZE));
}

template <typename Body>
void with_store(const std::string& url, Body body) {
  EventLoop loop;
  StoreOptions options;
  options.queued_per_queue = kWaitingJobs;
  const double before = resident_bytes();
  const double start = seconds();
  auto opened = open_store(url, options);
  if (!opened.ok()) abort();
  std::printf("  opened in %.2f s, %.0f bytes a job\n", seconds() - start,
              (resident_bytes() - before) / static_cast<double>(kWaitingJobs));
  loop.run([](Store* store, Body run) -> Task<void> {
    co_await run(*store);
    co_await store->close();
  }(opened->get(), body));
}

void measure_waiting(const std::string& url, const char* what, bool scheduled) {
  std::printf("%s\n", what);
  with_store(url, [scheduled](Store& store) -> Task<void> {
    for (size_t i = 0; i < kWaitingJobs; i += kSubmitBatch) {
      std::vector<v1::JobSpec> specs(kSubmitBatch, make_spec());
      for (v1::JobSpec& spec : specs) {
        if (scheduled) spec.mutable_delay()->set_seconds(60);
      }
      auto answers = co_await store.submit(std::move(specs));
      if (!answers[0].ok()) abort();
    }
  });
  with_store(url, [](Store& store) -> Task<void> {
    std::vector<double> batches_ms;
    double start = seconds();
    while (true) {
      const auto promoted = co_await store.promote(limits::kPromoteBatch);
      if (!promoted.ok()) abort();
      if (promoted->jobs == 0 && !promoted->next_in) break;
      if (promoted->jobs > 0) {
        batches_ms.push_back((seconds() - start) * 1e3);
      } else {
        co_await sleep_for(*promoted->next_in);
      }
      start = seconds();
    }
    if (batches_ms.empty()) co_return;
    std::sort(batches_ms.begin(), batches_ms.end());
    std::printf("  promoted in batches of %zu: p50 %.1f ms, slowest %.1f ms\n",
                limits::kPromoteBatch, batches_ms[batches_ms.size() / 2], batches_ms.back());
  });
}

void run_all(const std::string& name, const std::string& folder) {
  size_t round = 0;
  const bool redis = name.starts_with("redis");
  const auto url = [&] {
    return redis              ? name
           : name == "memory" ? std::string("memory:")
                              : "sqlite:" + folder + "/bench" + std::to_string(round++) + ".db";
  };
  std::printf("-- store %s%s, payload 100 B\n", name.c_str(),
              name == "memory" || redis
                  ? ""
                  : ", WAL, synchronous FULL (NORMAL for takes and chunks alone)");
  for (const size_t in_flight : {1, 16, 256, 2048}) {
    measure(url(), "whole jobs", in_flight, parallel(in_flight, whole_jobs));
  }
  for (const size_t in_flight : {1, 64}) {
    measure(url(), "submits", in_flight, parallel(in_flight, submits));
  }
  measure(url(), "submits in batches of 100", 4, parallel(4, batch_submits));
  for (const size_t batch : {256}) {
    measure(url(), "drain, batches of 256, x4", 4,
            [batch](Store& store, Counts* counts, double* wall, double* cpu) -> Task<void> {
              for (int i = 0; i < 200; ++i) {
                std::vector<v1::JobSpec> specs(1000, make_spec());
                co_await store.submit(std::move(specs));
              }
              const double start = seconds();
              const double start_cpu = cpu_seconds();
              auto body = [&](TaskGroup& group) -> Task<void> {
                for (int i = 0; i < 4; ++i) group.start(drain, std::ref(store), batch, counts);
                co_return;
              };
              co_await with_group(body);
              *wall = seconds() - start;
              *cpu = cpu_seconds() - start_cpu;
            });
  }
  for (const auto& [streams, batch] : {std::pair<size_t, size_t>{1, 256}, {1, 2048}, {64, 2048}}) {
    const std::string what = "chunks, " + std::to_string(streams) + " streams";
    measure(
        url(), what.c_str(), batch,
        [streams, batch](Store& store, Counts* counts, double* wall, double* cpu) -> Task<void> {
          std::vector<v1::JobSpec> specs(streams, make_spec());
          co_await store.submit(std::move(specs));
          TakeRequest take{.worker = kWorker, .worker_name = "bench", .max_jobs = streams};
          std::vector<Settlement> none;
          auto taken = co_await store.settle_and_take(std::move(none), take);
          const double start = seconds();
          const double start_cpu = cpu_seconds();
          const int64_t end_ns = EventLoop::current()->exact_now_ns() + kRun_ns;
          co_await chunks(store, std::move(taken->jobs), batch, end_ns, counts);
          *wall = seconds() - start;
          *cpu = cpu_seconds() - start_cpu;
        });
  }
}

}  // namespace
}  // namespace weft

// store_bench [memory|sqlite|redis://…|all [PART_OF_A_NAME]]: in Redis keys are left behind.
// store_bench waiting: what a million waiting jobs cost in SQLite.
int main(int argc, char** argv) {
  const std::string kind = argc > 1 ? argv[1] : "all";
  if (argc > 2) weft::wanted = argv[2];
  std::string folder = "store_bench_XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return 1;
  for (const char* name : {"memory", "sqlite"}) {
    if (kind != "all" && kind != name) continue;
    weft::run_all(name, folder);
  }
  if (kind.starts_with("redis")) weft::run_all(kind, folder);
  if (kind == "waiting") {
    weft::measure_waiting("sqlite:" + folder + "/queued.db", "a million queued jobs", false);
    weft::measure_waiting("sqlite:" + folder + "/scheduled.db", "a million scheduled jobs", true);
  }
  std::filesystem::remove_all(folder);
  return 0;
}
