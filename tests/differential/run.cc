// Asking, comparing, shrinking.
#include "tests/differential/run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include <weft/runtime/event_loop.h>
#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>

#include "tests/differential/calls.h"

namespace weft::testing {
namespace {

constexpr int64_t kStep_ns = static_cast<int64_t>(kStep_s) * 1'000'000'000;
constexpr int64_t kDay_ns = 24 * 3600 * int64_t{1'000'000'000};
constexpr int64_t kMicrosecond_ns = 1000;
constexpr std::chrono::milliseconds kMoment(1);
constexpr size_t kLookEvery = 8;
constexpr size_t kAllJobs = 1000;

// What there is to see of a store, a line each.
struct View {
  struct Line {
    std::string label;
    Answer answer;
  };
  std::vector<v1::Job> jobs;  // newest first
  std::vector<Line> lines;
};

class Run {
 public:
  Run(Subjects& subjects, VirtualClock& clock) : subjects_(subjects), clock_(clock) {}

  Task<void> play(const std::vector<Operation>& trace, bool thorough,
                  std::optional<Difference>* difference) {
    const auto body = [&](TaskGroup& group) -> Task<void> {
      co_await begin(group);
      co_await go_through(trace, thorough, difference);
      co_await end(group);
    };
    co_await with_group(body);
  }
  Task<void> call_all() {
    const auto body = [&](TaskGroup& group) -> Task<void> {
      co_await begin(group);
      for (const auto& subject : subjects_) co_await ask_all_once(*subject);
      co_await end(group);
    };
    co_await with_group(body);
  }

 private:
  Task<void> begin(TaskGroup& group) {
    for (const auto& subject : subjects_) group.start(&Subject::run, subject.get());
    for (const auto& subject : subjects_) co_await subject->await_all_ready();
  }
  Task<void> end(TaskGroup& group) {
    for (const auto& subject : subjects_) co_await subject->close();
    group.cancel(CancelReason::kShutdown);
  }
  Task<void> go_through(const std::vector<Operation>& trace, bool thorough,
                        std::optional<Difference>* difference) {
    for (size_t i = 0; i < trace.size() && difference_.empty(); ++i) {
      const bool look = thorough || i % kLookEvery == 0 || i + 1 == trace.size();
      co_await step(trace[i], world_.draw(trace[i]), look);
      if (!difference_.empty()) *difference = Difference{i + 1, difference_, log_};
    }
    if (!difference_.empty()) co_return;
    co_await forget_all();
    if (!difference_.empty()) *difference = Difference{trace.size(), difference_, log_};
  }

  // When all has ended and its time is over, nothing may be left.
  Task<void> forget_all() {
    Operation operation{};
    for (const auto& [process, call] : world_.draw_ends()) {
      operation.process = process;
      co_await step(operation, call, false);
      if (!difference_.empty()) co_return;
    }
    Call wait;
    wait.text = "wait for the end of all retention";
    wait.wait_ns = 40 * kDay_ns;
    co_await step(operation, wait, false);
    Call sweep;
    sweep.text = "sweep";
    sweep.ask = [](Subject& subject, size_t process) { return ask_sweep(subject, process, 100); };
    co_await step(operation, sweep, false);
    for (const auto& subject : subjects_) {
      const std::string left = subject->leftovers();
      if (!left.empty() && difference_.empty()) {
        difference_ = "at the end of all jobs " + subject->name + " keeps " + left;
      }
    }
  }

  Task<void> step(const Operation& operation, const Call& call, bool look_at_all) {
    note(operation, call);
    co_await pass(call.wait_ns);
    std::vector<std::vector<Answer>> answers(subjects_.size());
    if (call.ask && operation.fault == Operation::Fault::kReplyLost) {
      for (size_t i = 0; i < subjects_.size(); ++i) {
        answers[i] = co_await ask_unheard(*subjects_[i], operation, call);
      }
      // All repeat it at the same time.
      for (const auto& subject : subjects_) co_await subject->await_ready(operation.process);
    }
    for (size_t i = 0; i < subjects_.size(); ++i) {
      if (call.ask && answers[i].empty()) answers[i] = co_await ask(*subjects_[i], operation, call);
    }
    std::vector<View> views;
    for (const auto& subject : subjects_) {
      View view = co_await look(*subject, look_at_all);
      views.push_back(std::move(view));
    }
    name_jobs(views);
    for (size_t i = 1; i < subjects_.size(); ++i) {
      if (answers[i].size() != answers[0].size()) difference_ = "another number of answers";
      for (size_t k = 0; k < answers[0].size() && difference_.empty(); ++k) {
        compare(i, "the answer", answers[0][k], answers[i][k]);
      }
      compare(i, views[0], views[i]);
      // Who has lost an answer looks again; only of a settlement it is told all the same, though
      // less of a job without retention.
      const bool lost = operation.fault == Operation::Fault::kReplyLost;
      if (!lost || operation.kind == Operation::Kind::kSettleAndTake) compare_told(i, !lost);
    }
    for (const auto& subject : subjects_) subject->told.jobs.clear();
    learn(answers[0], views[0], operation);
  }

  void note(const Operation& operation, const Call& call) {
    std::string text = "process " + std::to_string(operation.process) + ": " + call.text;
    if (operation.fault == Operation::Fault::kRepeated) text += " (twice)";
    if (operation.fault == Operation::Fault::kReplyLost) text += " (the first reply is lost)";
    log_.push_back(std::move(text));
  }

  // Every operation has a time of its own. Whatever is on its way arrives before.
  Task<void> pass(int64_t more_ns) {
    co_await sleep_for(kMoment);
    clock_.advance_to((clock_.monotonic_ns() / kStep_ns + 1) * kStep_ns + more_ns);
    co_await sleep_for(kMoment);
  }

  static Task<std::set<std::string>> list_running(Store& store) {
    const auto page = co_await store.list({.states = {v1::JOB_STATE_RUNNING}}, "", kAllJobs);
    EXPECT_TRUE(page.ok()) << page.status();
    std::set<std::string> ids;
    if (!page.ok()) co_return ids;
    for (const v1::Job& job : page->jobs) ids.insert(job.spec().id());
    co_return ids;
  }

  // Asks without an answer. What is returned is what will be answered when it is asked again.
  static Task<std::vector<Answer>> ask_unheard(Subject& subject, const Operation& operation,
                                               const Call& call) {
    const size_t process = operation.process;
    if (subject.lose_next_reply(process)) {
      Store& other = subject.store((process + 1) % kProcesses);
      const std::set<std::string> before = co_await list_running(other);
      co_await call.ask(subject, process);
      subject.keep_replies(process);
      if (!call.cancel_reason) co_return std::vector<Answer>();
      const std::set<std::string> running = co_await list_running(other);
      for (const std::string& id : running) {
        if (before.contains(id)) continue;
        const auto cancelled = co_await other.cancel(id, *call.cancel_reason);
        EXPECT_TRUE(cancelled.ok()) << cancelled.status();
      }
      co_return std::vector<Answer>();
    }
    const Call::Ask& how = call.ask_unheard ? call.ask_unheard : call.ask;
    co_await how(subject, process);
    if (call.ask_cancelled) {
      Answer answer = co_await call.ask_cancelled(subject, process);
      co_return std::vector<Answer>{std::move(answer)};
    }
    if (call.repeats_answer) co_return co_await ask(subject, operation, call);
    co_return std::vector<Answer>();
  }

  static Task<std::vector<Answer>> ask(Subject& subject, const Operation& operation,
                                       const Call& call) {
    std::vector<Answer> answers;
    const size_t times = operation.fault == Operation::Fault::kRepeated ? 2 : 1;
    while (answers.size() < times) {
      Answer answer = co_await call.ask(subject, operation.process);
      answers.push_back(std::move(answer));
    }
    co_return answers;
  }

  static Task<View> look(Subject& subject, bool at_all) {
    View view;
    Store& store = subject.store(0);
    auto page = co_await store.list({}, "", kAllJobs);
    Answer listed;
    listed.add(page.status());
    if (page.ok()) view.jobs = std::move(page->jobs);
    view.lines.push_back({"the list", listed});
    for (const v1::Job& job : view.jobs) {
      Answer record;
      record.add(job);
      view.lines.push_back({"a listed job", record});
    }
    for (const v1::Job& job : view.jobs) {
      if (!at_all) break;
      const std::string& id = job.spec().id();
      Answer whole;
      const auto there = co_await store.get(id, true);
      whole.add(there.status(), id);
      if (there.ok()) whole.add(*there);
      view.lines.push_back({"a job", whole});
      Answer chunks;
      const auto stored = co_await store.read(id, 0, SIZE_MAX / 2);
      chunks.add_id(id).add(stored.status(), id);
      if (stored.ok()) chunks.add(*stored);
      view.lines.push_back({"a chunk log", chunks});
      Answer sends;
      const auto values = co_await store.read_sends(id, 0);
      sends.add_id(id).add(values.status(), id);
      if (values.ok()) {
        for (const StoredSend& send : *values) sends.add(" ").add(send.number).add(send.value);
      }
      view.lines.push_back({"the sends of a job", sends});
    }
    Answer counters;
    counters.add(subject.counters());
    view.lines.push_back({"the counters", counters});
    co_return view;
  }

  // Jobs that are new have the same place in every list, whatever their ids are.
  void name_jobs(const std::vector<View>& views) {
    for (size_t place = views[0].jobs.size(); place-- > 0;) {
      const std::string& first_id = views[0].jobs[place].spec().id();
      if (!subjects_[0]->names.number(first_id)) {
        subjects_[0]->names.add(world_.next_number(), first_id);
      }
      const size_t number = *subjects_[0]->names.number(first_id);
      for (size_t i = 1; i < views.size(); ++i) {
        if (place >= views[i].jobs.size()) continue;
        const std::string& id = views[i].jobs[place].spec().id();
        if (!subjects_[i]->names.number(id)) subjects_[i]->names.add(number, id);
      }
    }
  }

  void learn(const std::vector<Answer>& answers, const View& view, const Operation& operation) {
    std::map<size_t, v1::Job> records;
    for (const v1::Job& job : view.jobs) {
      records.emplace(*subjects_[0]->names.number(job.spec().id()), job);
    }
    world_.set_records(std::move(records));
    for (const Answer& answer : answers) {
      for (const auto& [id, attempt] : answer.taken) {
        const auto number = subjects_[0]->names.number(id);
        if (number) world_.add_claim(*number, attempt, operation.process);
      }
    }
    if (operation.kind == Operation::Kind::kLoseLease) world_.lose_lease(operation.process);
  }

  std::string to_text(size_t subject, const Answer& answer) const {
    return answer.to_text(
        [&](const std::string& id) { return subjects_[subject]->names.to_text(id); });
  }
  void compare(size_t subject, const std::string& what, const Answer& first, const Answer& other) {
    if (!difference_.empty()) return;
    const std::string expected = to_text(0, first);
    const std::string got = to_text(subject, other);
    bool same = expected == got && first.times_ns().size() == other.times_ns().size();
    const int64_t precision_ns = subjects_[subject]->precision_ns;
    for (size_t i = 0; same && i < first.times_ns().size(); ++i) {
      same = first.times_ns()[i] / precision_ns == other.times_ns()[i] / precision_ns;
    }
    if (same) return;
    difference_ = what + " differs:";
    for (const auto& [name, text, answer] : {std::tuple(subjects_[0]->name, expected, &first),
                                             std::tuple(subjects_[subject]->name, got, &other)}) {
      difference_ += "\n  " + name + ": " + text;
      for (const int64_t time : answer->times_ns()) difference_ += " t=" + std::to_string(time);
    }
  }
  void compare(size_t subject, const View& first, const View& other) {
    for (size_t i = 0; i < std::max(first.lines.size(), other.lines.size()); ++i) {
      static const View::Line nothing{"nothing", Answer()};
      const View::Line& expected = i < first.lines.size() ? first.lines[i] : nothing;
      const View::Line& got = i < other.lines.size() ? other.lines[i] : nothing;
      compare(subject, expected.label, expected.answer, got.answer);
    }
  }

  void compare_told(size_t subject, bool with_times) {
    if (!difference_.empty()) return;
    const std::string expected = told_by(0, with_times);
    const std::string got = told_by(subject, with_times);
    if (expected == got) return;
    difference_ = "what was told differs:\n  " + subjects_[0]->name + ":" + expected + "\n  " +
                  subjects_[subject]->name + ":" + got;
  }
  // The store itself has ended it, and not by a settlement that is asked for again.
  static bool is_ended_by_time(const v1::Job& job) {
    const std::string& code = job.outcome().error_code();
    return code == "expired" || code == "deadline";
  }
  // In any order.
  std::string told_by(size_t subject, bool with_times) const {
    std::vector<std::string> ends;
    for (const v1::Job& job : subjects_[subject]->told.jobs) {
      if (!with_times && is_ended_by_time(job)) continue;
      Answer end;
      const v1::JobSpec& spec = job.spec();
      const bool unknown = !with_times && spec.has_retention() && spec.retention().seconds() == 0;
      if (unknown) {
        end.add_id(spec.id()).add(" " + v1::JobState_Name(job.state())).add(" last ");
        end.add(job.last_sequence()).add(" " + job.outcome().result());
      } else {
        end.add(job);
      }
      ends.push_back(to_text(subject, end));
      for (const int64_t time : end.times_ns()) {
        if (!with_times) break;
        ends.back() += " t=" + std::to_string(time / kMicrosecond_ns);
      }
    }
    std::sort(ends.begin(), ends.end());
    std::string text;
    for (const std::string& end : ends) text += "\n    " + end;
    return text;
  }

  Subjects& subjects_;
  VirtualClock& clock_;
  World world_;
  std::vector<std::string> log_;
  std::string difference_;
};

}  // namespace

std::optional<Difference> run_trace(const MakeSubjects& make, const std::vector<Operation>& trace,
                                    bool thorough) {
  std::optional<Difference> difference;
  VirtualClock clock;
  EventLoop loop({.clock = nullptr, .virtual_clock = &clock, .ready_seed = std::nullopt});
  Subjects subjects = make();
  Run run(subjects, clock);
  loop.run(run.play(trace, thorough, &difference));
  return difference;
}

void warm_up(const MakeSubjects& make) {
  VirtualClock clock;
  EventLoop loop({.clock = nullptr, .virtual_clock = &clock, .ready_seed = std::nullopt});
  Subjects subjects = make();
  Run run(subjects, clock);
  loop.run(run.call_all());
}

std::vector<Operation> shrink(const MakeSubjects& make, std::vector<Operation> trace) {
  // Without one operation after the other, the last ones first; then again, as long as that helps.
  for (bool shorter = true; shorter;) {
    shorter = false;
    for (size_t i = trace.size(); i-- > 0;) {
      std::vector<Operation> fewer = trace;
      fewer.erase(fewer.begin() + static_cast<ptrdiff_t>(i));
      const std::optional<Difference> difference = run_trace(make, fewer, true);
      if (!difference) continue;
      fewer.resize(difference->operations);
      trace = std::move(fewer);
      i = std::min(i, trace.size());
      shorter = true;
    }
  }
  return trace;
}

}  // namespace weft::testing
