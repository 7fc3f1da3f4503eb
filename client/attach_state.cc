// Credit, sends and cancel of an attachment, without the calls.
#include <algorithm>
#include <utility>

#include <weft/base/limits.h>
#include <weft/client/attach_state.h>
#include <weft/client/text.h>

namespace weft {

Status check_send(const std::string& value) {
  if (value.size() <= limits::kSendBytes) return absl::OkStatus();
  return field_error("value", "the value has " + std::to_string(value.size()) +
                                  " bytes and the limit of a send is " +
                                  std::to_string(limits::kSendBytes) + ": send less");
}

v1::AttachRequest AttachState::open(uint64_t from_sequence) {
  v1::AttachRequest request;
  v1::AttachRequest::Open& open = *request.mutable_open();
  open.set_id(options_.job_id);
  open.set_from_sequence(from_sequence);
  open.set_sender(options_.sender);
  open.set_all_attempts(options_.all_attempts);
  open.set_credit(credit_);
  credit_written_ = credit_;
  sends_written_ = 0;
  cancel_written_ = false;
  return request;
}

std::optional<v1::AttachRequest> AttachState::take_unwritten() {
  if (credit_ > credit_written_) {
    v1::AttachRequest request;
    request.set_credit(credit_);
    credit_written_ = credit_;
    return request;
  }
  if (sends_written_ < sends_.size()) return sends_[sends_written_++];
  if (cancel_ && !std::exchange(cancel_written_, true)) return cancel_;
  return std::nullopt;
}

void AttachState::consume(uint64_t next_sequence) {
  if (options_.credit_ahead == 0) return;
  // Half of the credit at a time: a message for every chunk would cost more than the chunk.
  const uint64_t consumed = std::max<uint64_t>(next_sequence, 1) - 1;
  if (credit_ < consumed + options_.credit_ahead / 2 + 1) grant(consumed + options_.credit_ahead);
}

void AttachState::grant(uint64_t sequence) { credit_ = std::max(credit_, sequence); }

bool AttachState::has_room() const { return sends_.size() < limits::kUnconsumedSends; }

void AttachState::send(std::string value) {
  v1::AttachRequest& request = sends_.emplace_back();
  request.mutable_send()->set_number(++last_number_);
  request.mutable_send()->set_value(std::move(value));
}

void AttachState::cancel(const std::string& reason) {
  cancel_ = v1::AttachRequest();
  cancel_->mutable_cancel()->set_reason(is_utf8(reason) ? reason : "");
  cancel_written_ = false;
}

void AttachState::accepted(uint64_t number) {
  while (!sends_.empty() && sends_.front().send().number() <= number) {
    sends_.pop_front();
    if (sends_written_ > 0) --sends_written_;
  }
}

}  // namespace weft
