// From the function's thread to the loop.
#include <weft/base/limits.h>
#include <weft/base/utf8.h>
#include <weft/worker/job_context.h>
#include <weft/worker/permanent.h>
#include <weft/worker/plain_job.h>

namespace weft::internal {

PlainState::PlainState(EventLoop& loop, JobContext& context) : loop_(loop), context_(context) {}

void PlainState::load() {
  job_ = context_.record();
  std::lock_guard lock(mutex_);
  open_ = true;
}

void PlainState::close() {
  std::lock_guard lock(mutex_);
  open_ = false;
}

void PlainState::progress(double fraction, std::string_view message) {
  std::string text = clean_utf8(message, limits::kProgressBytes);
  std::lock_guard lock(mutex_);
  if (!open_) return;
  fraction_ = fraction > 0 ? std::min(fraction, 1.0) : 0;  // also turns NaN into 0
  message_ = std::move(text);
  if (!std::exchange(posted_, true)) loop_.post(*this);
}

void PlainState::deliver() {
  v1::Progress progress;
  {
    std::lock_guard lock(mutex_);
    posted_ = false;
    progress.set_fraction(fraction_);
    progress.set_message(message_);
  }
  context_.set_progress(std::move(progress));
}

void throw_bad_payload(const char* fault) {
  throw Permanent("the payload is " + std::string(fault), "invalid_payload");
}

}  // namespace weft::internal
