// Calls: asks a store for what an operation says, and writes down the answer.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <weft/runtime/task.h>

#include "tests/differential/subject.h"

namespace weft::testing {

// A token, by the number of its job.
class Claim {
 public:
  Token token(const Subject& subject) const {
    return Token(subject.names.id(job), attempt, subject.incarnation(process, lease));
  }
  std::string to_text() const {
    return "#" + std::to_string(job) + "/" + std::to_string(attempt) + "/" +
           std::to_string(process);
  }
  size_t job = 0;
  uint64_t attempt = 0;
  size_t process = 0;
  size_t lease = 0;  // of that process: how many it had lost before
};

class SettleCall {
 public:
  Claim claim;
  v1::JobState state{};
  v1::Outcome outcome;
  uint64_t last_sequence = 0;
  std::optional<v1::Progress> progress;
  std::chrono::milliseconds pause{0};  // of one that is put off…
  bool snoozed = false;                // …by itself
};

class AppendCall {
 public:
  Claim claim;
  uint64_t first_sequence = 1;
  std::vector<std::string> chunks;
};

class SendCall {
 public:
  size_t job = 0;
  std::string sender;
  uint64_t number = 0;
  std::string value;
  size_t times = 1;
};

Task<Answer> ask_submit(Subject& subject, size_t process, std::vector<v1::JobSpec> specs);
Task<Answer> ask_settle_and_take(Subject& subject, size_t process, std::vector<SettleCall> settles,
                                 size_t max_jobs, std::vector<TypeRoom> type_room,
                                 std::string only_type);
// Also cancels what it takes, and answers with the jobs as they are then.
Task<Answer> ask_settle_take_and_cancel(Subject& subject, size_t process,
                                        std::vector<SettleCall> settles, size_t max_jobs,
                                        std::vector<TypeRoom> type_room, std::string only_type,
                                        std::string reason);
// `claims`: what it runs.
Task<Answer> ask_lose_lease(Subject& subject, size_t process, std::vector<Claim> claims);
Task<Answer> ask_release(Subject& subject, size_t process, std::vector<Claim> claims);
Task<Answer> ask_save_progress(Subject& subject, size_t process,
                               std::vector<std::pair<Claim, v1::Progress>> progress);
Task<Answer> ask_cancel(Subject& subject, size_t process, size_t job, std::string reason);
Task<Answer> ask_append(Subject& subject, size_t process, std::vector<AppendCall> appends);
Task<Answer> ask_trim(Subject& subject, size_t process, size_t job, uint64_t first_sequence);
Task<Answer> ask_send(Subject& subject, size_t process, SendCall send);
Task<Answer> ask_consumed(Subject& subject, size_t process, Claim claim, uint64_t number);
// All pages, each of about `max_bytes`.
Task<Answer> ask_read(Subject& subject, size_t process, size_t job, uint64_t from,
                      size_t max_bytes);
Task<Answer> ask_read_sends(Subject& subject, size_t process, size_t job, uint64_t after);
Task<Answer> ask_get(Subject& subject, size_t process, size_t job, bool with_payload);
// All pages, each of `page_size`.
Task<Answer> ask_list(Subject& subject, size_t process, JobFilter filter, std::string position,
                      size_t page_size);
Task<Answer> ask_retry(Subject& subject, size_t process, size_t job);
Task<Answer> ask_remove(Subject& subject, size_t process, size_t job);
// Until nothing is left to forget. How many of what is no part of the answer: some stores leave
// idempotency keys to a server.
Task<Answer> ask_sweep(Subject& subject, size_t process, size_t max_items);

Task<Answer> ask_promote(Subject& subject, size_t process, size_t max_jobs);

// Each of them once, about nothing: a server knows all scripts afterwards, so that a lost reply is
// never that it knows one not.
Task<void> ask_all_once(Subject& subject);

}  // namespace weft::testing
