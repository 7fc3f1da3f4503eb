// One thread writes, another reads the answers; gRPC's flow control holds the writer.
#include "client/cli/bench/bulk.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <thread>
#include <utility>

#include <weft/base/id.h>
#include <weft/base/random.h>

namespace weft::cli {
namespace {

std::string random_prefix() {
  Random random = Random::from_system();
  return make_job_id(0, random);
}

}  // namespace

KeyedSpecs::KeyedSpecs(const BenchOptions& options) : prefix_(random_prefix()) {
  spec_.set_type(options.type);
  std::string payload = options.payload;
  // Spaces change no JSON.
  const char filler = payload.empty() ? 'x' : ' ';
  payload.resize(std::max(payload.size(), options.payload_bytes), filler);
  spec_.set_payload(std::move(payload));
  if (options.retention_s) {
    const auto ms = static_cast<int64_t>(*options.retention_s * 1000);
    spec_.mutable_retention()->set_seconds(ms / 1000);
    spec_.mutable_retention()->set_nanos(static_cast<int32_t>(ms % 1000) * 1'000'000);
  }
}

void KeyedSpecs::fill(v1::JobSpec& spec) {
  spec = spec_;
  spec.set_idempotency_key(prefix_ + std::to_string(count_++));
}

StatusOr<uint64_t> submit_in_bulk(v1::JobService::Stub& jobs, size_t batch,
                                  const std::function<bool(v1::SubmitStreamRequest&)>& fill) {
  grpc::ClientContext context;
  auto stream = jobs.SubmitStream(&context);
  uint64_t accepted = 0;
  uint64_t refused = 0;
  std::string reason;
  std::thread reader([&] {
    v1::SubmitStreamResponse response;
    while (stream->Read(&response)) {
      for (const v1::SubmitAnswer& answer : response.answers()) {
        ++(answer.has_accepted() ? accepted : refused);
        if (answer.has_refused()) reason = answer.refused().message();
      }
    }
  });
  v1::SubmitStreamRequest request;
  request.mutable_specs()->Reserve(static_cast<int>(batch));
  while (fill(request) && stream->Write(request)) request.clear_specs();
  stream->WritesDone();
  reader.join();
  const grpc::Status status = stream->Finish();
  if (!status.ok()) {
    return make_status(static_cast<StatusCode>(status.error_code()), status.error_message());
  }
  if (refused > 0) {
    return make_status(StatusCode::kResourceExhausted,
                       std::to_string(refused) + " jobs were refused: " + reason);
  }
  return accepted;
}

}  // namespace weft::cli
