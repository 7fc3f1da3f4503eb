// HttpResolver: host names looked up off the loop, a few at a time.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include <weft/base/status.h>
#include <weft/runtime/event.h>
#include <weft/runtime/fd_watch.h>
#include <weft/runtime/poller.h>
#include <weft/runtime/task.h>

namespace weft::handlers {

// The addresses of `host` as the machine looks names up, with commas between. Blocks. Thread: any.
// Errors: UNAVAILABLE.
StatusOr<std::string> look_up_host(const std::string& host);

// libcurl would start a thread for each transfer that has a name to look up, and would block the
// loop to end one of them early. Here a name is looked up once for all that ask, on a thread that
// ends with the lookup; answers are kept for a minute, failures for five seconds.
// Thread: the loop's. Lifetime: outlives its waits. Limits: 16 lookups at once, 1,000 waiting,
// 1,000 answers kept.
class HttpResolver final : private PollTarget {
 public:
  using LookUp = std::function<StatusOr<std::string>(const std::string& host)>;
  explicit HttpResolver(LookUp look_up = &look_up_host);
  ~HttpResolver();
  HttpResolver(const HttpResolver&) = delete;
  HttpResolver& operator=(const HttpResolver&) = delete;

  // The addresses of `host` with commas between. Cancellation: at once; the lookup ends by itself.
  // Errors: UNAVAILABLE for a name that cannot be resolved, or when too many lookups wait.
  Task<StatusOr<std::string>> resolve(std::string host);

 private:
  struct Shared;  // with the threads
  struct Lookup {
    StatusOr<std::string> addresses;
    Event done;
  };
  struct Answer {
    StatusOr<std::string> addresses;
    int64_t until_ns;
  };
  void start_lookups();
  void on_events(uint32_t events) override;

  const LookUp look_up_;
  const std::shared_ptr<Shared> shared_;
  std::map<std::string, std::shared_ptr<Lookup>, std::less<>> lookups_;  // running and waiting
  std::deque<std::string> waiting_;
  std::map<std::string, Answer, std::less<>> answers_;
  size_t running_ = 0;
};

}  // namespace weft::handlers
