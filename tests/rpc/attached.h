// Attached: a client's end of one Attach call, and what it has read.
#pragma once

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include <weft/v1/job_service.grpc.pb.h>

#include "tests/support/worker_bed.h"

namespace weft::testing {

// Thread: one that writes and one that reads.
class Attached {
 public:
  Attached(v1::JobService::Stub& stub, const std::string& id, uint64_t credit,
           const std::string& sender = "")
      : stream_(stub.Attach(&context_)) {
    v1::AttachRequest request;
    request.mutable_open()->set_id(id);
    request.mutable_open()->set_credit(credit);
    request.mutable_open()->set_sender(sender);
    stream_->Write(request);
  }
  void send(uint64_t number, const std::string& value) {
    v1::AttachRequest request;
    request.mutable_send()->set_number(number);
    request.mutable_send()->set_value(value);
    stream_->Write(request);
  }
  void credit(uint64_t sequence) {
    v1::AttachRequest request;
    request.set_credit(sequence);
    stream_->Write(request);
  }
  // Reads until there are `chunks`, or the end.
  void read(size_t chunks) {
    v1::Event event;
    while (got.chunks.size() < chunks && stream_->Read(&event)) add(event);
  }
  grpc::Status finish() {
    v1::Event event;
    while (stream_->Read(&event)) add(event);
    return stream_->Finish();
  }
  auto& stream() { return *stream_; }
  grpc::ClientContext& context() { return context_; }
  // Reads until the send with this number is accepted, or the end.
  void read_accepted(uint64_t number) {
    v1::Event event;
    while (accepted < number && stream_->Read(&event)) add(event);
  }
  Read got;
  uint64_t accepted = 0;

 private:
  void add(const v1::Event& event) {
    got.add(event);
    accepted = std::max(accepted, event.sends_accepted().number());
  }

  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::AttachRequest, v1::Event>> stream_;
};

}  // namespace weft::testing
