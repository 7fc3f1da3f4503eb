// One thread writes, another reads the answers; gRPC's flow control holds the writer.
#include "client/cli/bench/bulk.h"

#include <grpcpp/grpcpp.h>

#include <thread>

#include <weft/base/id.h>
#include <weft/base/random.h>

namespace weft::cli {
namespace {

std::string random_prefix() {
  Random random = Random::from_system();
  return make_job_id(0, random);
}

}  // namespace

KeyedSpecs::KeyedSpecs(size_t payload_bytes)
    : payload_(payload_bytes, 'x'), prefix_(random_prefix()) {}

void KeyedSpecs::fill(v1::JobSpec& spec) {
  spec.set_type("echo");
  spec.set_payload(payload_);
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
