// World: what is known of a trace's jobs, and the calls that are drawn from it.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <weft/base/random.h>
#include <weft/runtime/task.h>

#include "tests/differential/calls.h"
#include "tests/differential/operation.h"
#include "tests/differential/subject.h"

namespace weft::testing {

// Time passes in steps that no retention is a multiple of, not even nearly, so that clocks which
// differ by seconds agree on what is over.
inline constexpr uint64_t kStep_s = 41;

// A call with all its arguments, the same for every store.
class Call {
 public:
  using Ask = std::function<Task<Answer>(Subject& subject, size_t process)>;
  std::string text;  // for people
  Ask ask;
  // What is done when the answer is lost, where nothing is given away to nobody: jobs of a store of
  // one process, or what would have followed the first answer. Empty: as ask.
  Ask ask_unheard;
  bool repeats_answer = false;  // asked again it gives what it gave when it was asked first
  // Between the two another process cancels what the first has taken, with that reason; where there
  // is but one process, this comes to the same.
  std::optional<std::string> cancel_reason;
  Ask ask_cancelled;
  int64_t wait_ns = 0;  // time that passes instead
};

class World {
 public:
  // What there is now, by number.
  void set_records(std::map<size_t, v1::Job> records);
  void add_claim(size_t job, uint64_t attempt, size_t process);
  void lose_lease(size_t process) { ++leases_[process]; }
  size_t next_number() { return numbers_++; }

  Call draw(const Operation& operation) const;
  // What ends every job there is: running ones are settled by the process that runs them.
  std::vector<std::pair<size_t, Call>> draw_ends() const;

 private:
  // Mostly one in one of these states, if there is one.
  size_t pick_job(Random& random, const std::vector<v1::JobState>& states) const;
  void draw_end(Random& random, bool times, SettleCall& settle) const;
  Claim pick_claim(Random& random) const;
  std::vector<Claim> pick_claims(Random& random) const;
  v1::Job record(size_t job) const;
  std::vector<Claim> running_in(size_t process) const;
  std::vector<Claim> pick_settled(Random& random, const Operation& operation) const;
  Call draw_settle_and_take(Random& random, const Operation& operation) const;
  Call draw_append(Random& random) const;
  Call draw_send(Random& random, bool times) const;

  size_t numbers_ = 0;
  std::map<size_t, v1::Job> records_;
  std::map<size_t, std::vector<Claim>> claims_;
  std::array<size_t, kProcesses> leases_{};  // that each process has lost
};

}  // namespace weft::testing
