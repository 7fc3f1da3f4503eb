// One job's chunks to one reader: how many a second, and how long each is on its way.
#include <grpcpp/grpcpp.h>
#include <time.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "client/cli/bench/bench.h"

namespace weft::cli {
namespace {

constexpr uint64_t kPacedChunks = 2000;

Status status_of(const grpc::Status& status) {
  return make_status(static_cast<StatusCode>(status.error_code()), status.error_message());
}

int64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

StatusOr<std::string> submit_count(Target& target, const nlohmann::json& payload) {
  grpc::ClientContext context;
  v1::SubmitRequest request;
  request.mutable_spec()->set_type("count");
  request.mutable_spec()->set_payload(payload.dump());
  v1::SubmitResponse response;
  const grpc::Status status = target.jobs().Submit(&context, request, &response);
  if (!status.ok()) return status_of(status);
  return response.id();
}

// Reads to the end and counts.
template <typename Reader>
Status read_all(const BenchOptions& options, Target& target, const std::string& what,
                Reader& reader, Report& report) {
  const StatusOr<CpuTime> cpu = target.cpu();
  if (!cpu.ok()) return cpu.status();
  const auto begin = BenchClock::now();
  uint64_t chunks = 0;
  uint64_t messages = 0;
  v1::Event event;
  while (reader.Read(&event)) {
    ++messages;
    chunks += static_cast<uint64_t>(event.chunks().data_size());
    if (event.has_finished()) break;
  }
  const double elapsed = seconds_since(begin);
  const StatusOr<CpuTime> cpu_after = target.cpu();
  if (!cpu_after.ok()) return cpu_after.status();
  if (chunks != options.chunks) {
    return make_status(StatusCode::kDataLoss, "of " + std::to_string(options.chunks) + " chunks " +
                                                  std::to_string(chunks) +
                                                  " came: look at the daemon's log");
  }
  const auto count = static_cast<double>(chunks);
  Row row{
      what,
      {{"chunks/s", count / elapsed}, {"chunks a message", count / static_cast<double>(messages)}}};
  add_cpu(row, *cpu, *cpu_after, count, "chunk");
  report.rows.push_back(std::move(row));
  return absl::OkStatus();
}

Status over_watch(const BenchOptions& options, Target& target, const nlohmann::json& payload,
                  Report& report) {
  const StatusOr<std::string> id = submit_count(target, payload);
  if (!id.ok()) return id.status();
  grpc::ClientContext context;
  v1::WatchRequest request;
  request.set_id(*id);
  auto reader = target.jobs().Watch(&context, request);
  WEFT_RETURN_IF_ERROR(read_all(options, target, "one stream over Watch", *reader, report));
  return status_of(reader->Finish());
}

Status over_attach(const BenchOptions& options, Target& target, const nlohmann::json& payload,
                   Report& report) {
  const StatusOr<std::string> id = submit_count(target, payload);
  if (!id.ok()) return id.status();
  grpc::ClientContext context;
  v1::AttachRequest request;
  request.mutable_open()->set_id(*id);
  request.mutable_open()->set_credit(options.chunks + 1);
  auto stream = target.jobs().Attach(&context);
  stream->Write(request);
  WEFT_RETURN_IF_ERROR(read_all(options, target, "one stream over Attach", *stream, report));
  stream->WritesDone();
  return status_of(stream->Finish());
}

// Chunks that carry the time at which they were made; daemon and client must share a clock.
Status paced(Target& target, Report& report) {
  const StatusOr<std::string> id =
      submit_count(target, {{"to", kPacedChunks}, {"delay_ms", 1}, {"stamp", 1}});
  if (!id.ok()) return id.status();
  grpc::ClientContext context;
  v1::WatchRequest request;
  request.set_id(*id);
  auto reader = target.jobs().Watch(&context, request);
  std::vector<double> micros;
  v1::Event event;
  while (reader->Read(&event)) {
    const int64_t now_ns = monotonic_ns();
    for (const std::string& chunk : event.chunks().data()) {
      const int64_t made_ns = std::stoll(chunk.substr(chunk.find(' ') + 1));
      micros.push_back(static_cast<double>(now_ns - made_ns) * 1e-3);
    }
  }
  report.rows.push_back(
      Row{"one chunk a millisecond",
          {{"p50 us", percentile(micros, 0.5)}, {"p99 us", percentile(micros, 0.99)}}});
  return status_of(reader->Finish());
}

}  // namespace

Status bench_stream(const BenchOptions& options, const std::string& store, Report& report) {
  auto target = Target::open(options, store, {});
  if (!target.ok()) return target.status();
  report.settings = {{"chunks", std::to_string(options.chunks) + " of " +
                                    std::to_string(options.chunk_bytes) + " bytes"}};
  const nlohmann::json payload = {{"to", options.chunks}, {"bytes", options.chunk_bytes}};
  WEFT_RETURN_IF_ERROR(over_watch(options, **target, payload, report));
  WEFT_RETURN_IF_ERROR(over_attach(options, **target, payload, report));
  // The time at which a chunk was made means nothing on another machine.
  return (*target)->is_own() ? paced(**target, report) : absl::OkStatus();
}

}  // namespace weft::cli
