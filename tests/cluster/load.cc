// Submitting and accounting.
#include "tests/cluster/load.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include <weft/base/random.h>

namespace weft::testing {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// What a list tells, too: it leaves out results.
std::string end_of(const v1::Job& job) {
  return v1::JobState_Name(job.state()) + " " + std::to_string(job.attempt()) + " " +
         job.outcome().error_code() + job.finish_time().SerializeAsString();
}

// The attempt that gave this result; 0: it does not say.
uint64_t attempt_of_result(const v1::Job& job) {
  const auto result = nlohmann::json::parse(job.outcome().result(), nullptr, false);
  return result.is_object() ? result.value("attempt", uint64_t{0}) : 0;
}

}  // namespace

void Account::print(const char* what) const {
  std::printf(
      "counts: %s: submitted %d, acknowledged %d, finished %d, lost %d, doubled %d, stale accepted "
      "%d, dead %d; run more than once %d, of them not explained by a crash %d\n",
      what, submitted, acknowledged, finished, lost, doubled, stale_accepted, dead, repeated,
      unexplained);
  std::fflush(stdout);
}

void Account::expect_nothing_lost() const {
  EXPECT_EQ(acknowledged, submitted);
  EXPECT_EQ(finished, submitted);
  EXPECT_EQ(lost, 0);
  EXPECT_EQ(doubled, 0);
  EXPECT_EQ(stale_accepted, 0);
  EXPECT_EQ(dead, 0);
  EXPECT_EQ(unexplained, 0);
}

Load::Load(const Cluster& cluster, const Journal& journal, Options options)
    : front_ends_(cluster.front_ends()), journal_(journal), options_(options) {
  for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this, i] { submit_share(i); });
}

Load::~Load() {
  stop_ = true;
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void Load::submit_share(int thread) {
  const int share = options_.jobs / options_.threads;
  Random random(static_cast<uint64_t>(thread) + 1);
  const auto begin = Clock::now();
  for (int done = 0; done < share && !stop_;) {
    const int count = std::min(options_.batch, share - done);
    std::vector<v1::JobSpec> specs(static_cast<size_t>(count));
    for (v1::JobSpec& spec : specs) {
      spec.set_type("noted");
      const auto range = static_cast<uint64_t>(options_.job_ms - options_.job_ms_min);
      spec.set_payload(
          journal_.payload(options_.job_ms_min + static_cast<int64_t>(random.below(range + 1))));
      // The test's own, so that a repetition over another front end is known there too.
      spec.set_idempotency_key(options_.key + "-" + std::to_string(thread) + "-" +
                               std::to_string(done++));
    }
    if (!submit(std::move(specs), static_cast<size_t>(thread + done))) return;
    std::this_thread::sleep_until(begin + milliseconds(options_.spread_ms) * done / share);
  }
}

bool Load::submit(std::vector<v1::JobSpec> specs, size_t turn) {
  const auto until = Clock::now() + milliseconds(options_.give_up_ms);
  std::string why;
  submitted_ += static_cast<int>(specs.size());
  while (!specs.empty() && !stop_ && Clock::now() < until) {
    Client client({.server = front_ends_[turn++ % front_ends_.size()],
                   .call_deadline_ms = options_.try_ms,
                   .retry_for_ms = 0});
    const auto answer = client.submit_batch(specs);
    if (!answer.ok()) {
      why = answer.status().ToString();
      // Where nobody listens the answer comes at once.
      std::this_thread::sleep_for(milliseconds(20));
      continue;
    }
    std::vector<v1::JobSpec> again;
    for (int i = 0; i < answer->answers_size(); ++i) {
      const v1::SubmitAnswer& each = answer->answers(i);
      if (each.has_accepted()) {
        std::lock_guard lock(mutex_);
        ids_.push_back(each.accepted().id());
        acknowledged_at_[each.accepted().id()] = Clock::now();
        ++acknowledged_;
      } else {
        why = each.refused().message();
        again.push_back(specs[static_cast<size_t>(i)]);
      }
    }
    specs = std::move(again);
  }
  if (!specs.empty() && !stop_) ADD_FAILURE() << "not acknowledged: " << why;
  return specs.empty();
}

std::vector<std::string> Load::ids() {
  std::lock_guard lock(mutex_);
  return ids_;
}

bool Load::note(const v1::Job& job) {
  if (!job.has_outcome()) return false;
  std::lock_guard lock(mutex_);
  const auto [seen, first] = ends_.try_emplace(job.spec().id(), end_of(job));
  if (!first && seen->second != end_of(job)) ++account_.doubled;
  return true;
}

size_t Load::look() {
  Client client({.server = front_ends_[0],
                 .call_deadline_ms = options_.give_up_ms,
                 .retry_for_ms = options_.give_up_ms});
  v1::ListJobsRequest all;
  all.mutable_filter()->set_type("noted");
  all.set_page_size(1000);
  size_t open = 0;
  JobList jobs = client.jobs(all);
  for (const v1::Job& job : jobs) open += !note(job);
  EXPECT_TRUE(jobs.status().ok()) << jobs.status();
  return open;
}

void Load::check_share(const std::vector<std::string>& ids, size_t thread, size_t threads) {
  Client client({.server = front_ends_[thread % front_ends_.size()],
                 .call_deadline_ms = options_.give_up_ms,
                 .retry_for_ms = options_.give_up_ms});
  for (size_t i = thread; i < ids.size(); i += threads) {
    const auto job = client.get(ids[i]);
    const bool ended = job.ok() && note(*job);
    std::lock_guard lock(mutex_);
    if (!ended) {
      const auto at = acknowledged_at_[ids[i]];
      if (account_.lost++ == 0 || at < account_.first_lost) account_.first_lost = at;
    } else if (job->state() != v1::JOB_STATE_SUCCEEDED) {
      ++account_.dead;
    } else {
      ++account_.finished;
      if (attempt_of_result(*job) != job->attempt()) ++account_.stale_accepted;
    }
  }
}

Account Load::settle(const Cluster& cluster) {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  eventually([this] { return look() == 0; }, milliseconds(options_.give_up_ms));
  const std::vector<std::string> ids = this->ids();
  const auto checkers = static_cast<size_t>(options_.threads);
  std::vector<std::thread> checking;
  for (size_t i = 0; i < checkers; ++i) {
    checking.emplace_back([&, i] { check_share(ids, i, checkers); });
  }
  for (std::thread& thread : checking) thread.join();
  // What was accepted twice is there under an id that nobody was told.
  const std::set<std::string> known(ids.begin(), ids.end());
  for (const auto& [id, end] : ends_) account_.doubled += !known.contains(id);
  account_.submitted = submitted_;
  EXPECT_EQ(account_.submitted, options_.jobs / options_.threads * options_.threads);
  account_.acknowledged = static_cast<int>(ids.size());
  const auto journal = journal_.read();
  for (const auto& [id, runs] : journal) {
    if (runs.size() < 2) continue;
    ++account_.repeated;
    const bool explained = std::all_of(runs.begin(), runs.end() - 1,
                                       [&](const JobRun& run) { return cluster.excused(run.pid); });
    if (!explained) ++account_.unexplained;
  }
  return account_;
}

}  // namespace weft::testing
