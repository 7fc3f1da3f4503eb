// One function a verb.
#include "tests/differential/calls.h"

#include <gtest/gtest.h>

#include <optional>
#include <utility>

namespace weft::testing {
namespace {

// Answers of a batch, about the jobs of `ids`.
Answer to_answer(const std::vector<Status>& statuses, const std::vector<std::string>& ids) {
  Answer answer;
  for (size_t i = 0; i < statuses.size(); ++i) {
    answer.add("[").add(statuses[i], i < ids.size() ? ids[i] : "").add("]");
  }
  return answer;
}

}  // namespace

Task<Answer> ask_submit(Subject& subject, size_t process, std::vector<v1::JobSpec> specs) {
  std::vector<std::string> given;
  for (const v1::JobSpec& spec : specs) given.push_back(spec.id());
  const auto submitted = co_await subject.store(process).submit(std::move(specs));
  Answer answer;
  for (size_t i = 0; i < submitted.size(); ++i) {
    answer.add("[").add(submitted[i].status(), i < given.size() ? given[i] : "");
    if (submitted[i].ok()) {
      answer.add(submitted[i]->existing ? " existing " : " new ").add_id(submitted[i]->id);
    }
    answer.add("]");
  }
  co_return answer;
}

namespace {

Task<Answer> settle_and_take(Subject& subject, size_t process, std::vector<SettleCall> settles,
                             size_t max_jobs, std::vector<TypeRoom> type_room,
                             std::string only_type, std::optional<std::string> cancel_reason) {
  std::vector<Settlement> settlements;
  std::vector<std::string> ids;
  for (SettleCall& settle : settles) {
    settlements.emplace_back(settle.claim.token(subject), settle.state, std::move(settle.outcome),
                             settle.last_sequence);
    settlements.back().progress = std::move(settle.progress);
    settlements.back().pause = settle.pause;
    settlements.back().snoozed = settle.snoozed;
    ids.push_back(subject.names.id(settle.claim.job));
  }
  TakeRequest request{.worker = subject.incarnation(process),
                      .worker_name = "process-" + std::to_string(process),
                      .max_jobs = max_jobs,
                      .type_room = std::move(type_room)};
  if (!only_type.empty() && subject.store(process).shared()) {
    request.types = {only_type};
  } else if (!only_type.empty()) {
    // What comes to the same where all types are this process's own.
    std::erase_if(request.type_room, [&](const TypeRoom& room) { return room.type != only_type; });
    request.type_room.push_back({only_type == "even" ? "odd" : "even", 0});
  }
  auto taken = co_await subject.store(process).settle_and_take(std::move(settlements), request);
  Answer answer;
  answer.add(taken.status());
  if (!taken.ok()) co_return answer;
  answer.append(to_answer(taken->settled, ids));
  for (v1::Job& job : taken->jobs) {
    if (cancel_reason) {
      Store& store = subject.store(process);
      const auto cancelled = co_await store.cancel(job.spec().id(), *cancel_reason);
      auto now = co_await store.get(job.spec().id(), true);
      EXPECT_TRUE(cancelled.ok() && now.ok()) << cancelled.status() << now.status();
      if (now.ok()) job = *std::move(now);
      job.clear_errors();  // a take does not show them
    }
    answer.add(" took ").add(job);
    answer.taken.emplace_back(job.spec().id(), job.attempt());
  }
  co_return answer;
}

}  // namespace

Task<Answer> ask_settle_and_take(Subject& subject, size_t process, std::vector<SettleCall> settles,
                                 size_t max_jobs, std::vector<TypeRoom> type_room,
                                 std::string only_type) {
  return settle_and_take(subject, process, std::move(settles), max_jobs, std::move(type_room),
                         std::move(only_type), std::nullopt);
}

Task<Answer> ask_settle_take_and_cancel(Subject& subject, size_t process,
                                        std::vector<SettleCall> settles, size_t max_jobs,
                                        std::vector<TypeRoom> type_room, std::string only_type,
                                        std::string reason) {
  return settle_and_take(subject, process, std::move(settles), max_jobs, std::move(type_room),
                         std::move(only_type), std::move(reason));
}

Task<Answer> ask_lose_lease(Subject& subject, size_t process, std::vector<Claim> claims) {
  std::vector<Token> tokens;
  for (const Claim& claim : claims) tokens.push_back(claim.token(subject));
  co_await subject.lose_lease(process, std::move(tokens));
  co_return Answer();
}

Task<Answer> ask_release(Subject& subject, size_t process, std::vector<Claim> claims) {
  std::vector<Token> tokens;
  std::vector<std::string> ids;
  for (const Claim& claim : claims) {
    tokens.push_back(claim.token(subject));
    ids.push_back(tokens.back().job_id);
  }
  const auto statuses = co_await subject.store(process).release(std::move(tokens));
  co_return to_answer(statuses, ids);
}

Task<Answer> ask_save_progress(Subject& subject, size_t process,
                               std::vector<std::pair<Claim, v1::Progress>> progress) {
  std::vector<std::pair<Token, v1::Progress>> items;
  std::vector<std::string> ids;
  for (auto& [claim, value] : progress) {
    items.emplace_back(claim.token(subject), std::move(value));
    ids.push_back(items.back().first.job_id);
  }
  const auto statuses = co_await subject.store(process).save_progress(std::move(items));
  co_return to_answer(statuses, ids);
}

Task<Answer> ask_cancel(Subject& subject, size_t process, size_t job, std::string reason) {
  const std::string id = subject.names.id(job);
  const auto response = co_await subject.store(process).cancel(id, std::move(reason));
  Answer answer;
  answer.add(response.status(), id);
  if (response.ok()) answer.add(" " + response->ShortDebugString());
  co_return answer;
}

Task<Answer> ask_append(Subject& subject, size_t process, std::vector<AppendCall> appends) {
  std::vector<Append> items;
  std::vector<std::string> ids;
  for (const AppendCall& append : appends) {
    auto block = std::make_shared<ChunkBlock>(append.first_sequence);
    for (const std::string& chunk : append.chunks) block->add(chunk);
    items.emplace_back(append.claim.token(subject), std::move(block));
    ids.push_back(items.back().token.job_id);
  }
  const auto statuses = co_await subject.store(process).append(std::move(items));
  co_return to_answer(statuses, ids);
}

Task<Answer> ask_trim(Subject& subject, size_t process, size_t job, uint64_t first_sequence) {
  const std::string id = subject.names.id(job);
  const Status status = co_await subject.store(process).trim(id, first_sequence);
  Answer answer;
  answer.add(status, id);
  co_return answer;
}

Task<Answer> ask_send(Subject& subject, size_t process, SendCall send) {
  const std::string id = subject.names.id(send.job);
  Answer answer;
  for (size_t i = 0; i < send.times && !answer.unavailable(); ++i) {
    const uint64_t number = send.number == 0 ? 0 : send.number + i;
    const auto given = co_await subject.store(process).send(id, send.sender, number, send.value);
    answer.add("[").add(given.status(), id);
    if (given.ok()) answer.add(" ").add(*given);
    answer.add("]");
  }
  co_return answer;
}

Task<Answer> ask_consumed(Subject& subject, size_t process, Claim claim, uint64_t number) {
  subject.store(process).consumed(claim.token(subject), number);
  // What is asked next has to wait for it.
  const auto job = co_await subject.store(process).get(claim.token(subject).job_id, false);
  Answer answer;
  if (job.status().code() == StatusCode::kUnavailable) answer.add(job.status());
  co_return answer;
}

Task<Answer> ask_read(Subject& subject, size_t process, size_t job, uint64_t from,
                      size_t max_bytes) {
  const std::string id = subject.names.id(job);
  Answer answer;
  while (true) {
    const auto page = co_await subject.store(process).read(id, from, max_bytes);
    if (!page.ok()) {
      answer.add(page.status(), id);
      co_return answer;
    }
    answer.add(*page);
    if (page->blocks.empty()) {
      answer.add(" first ").add(page->first_sequence).add(" last ").add(page->last_sequence);
      co_return answer;
    }
    from = page->blocks.back()->last_sequence() + 1;
  }
}

Task<Answer> ask_read_sends(Subject& subject, size_t process, size_t job, uint64_t after) {
  const std::string id = subject.names.id(job);
  const auto sends = co_await subject.store(process).read_sends(id, after);
  Answer answer;
  answer.add(sends.status(), id);
  if (!sends.ok()) co_return answer;
  for (const StoredSend& send : *sends) answer.add(" ").add(send.number).add(":" + send.value);
  co_return answer;
}

Task<Answer> ask_get(Subject& subject, size_t process, size_t job, bool with_payload) {
  const std::string id = subject.names.id(job);
  const auto there = co_await subject.store(process).get(id, with_payload);
  Answer answer;
  answer.add(there.status(), id);
  if (there.ok()) answer.add(" ").add(*there);
  co_return answer;
}

Task<Answer> ask_list(Subject& subject, size_t process, JobFilter filter, std::string position,
                      size_t page_size) {
  Answer answer;
  while (true) {
    const auto page = co_await subject.store(process).list(filter, position, page_size);
    answer.add("[").add(page.status());
    if (page.ok()) {
      for (const v1::Job& job : page->jobs) answer.add(" ").add(job);
    }
    answer.add("]");
    if (!page.ok() || page->next.empty()) co_return answer;
    position = page->next;
  }
}

Task<Answer> ask_retry(Subject& subject, size_t process, size_t job) {
  const std::string id = subject.names.id(job);
  const auto there = co_await subject.store(process).retry(id);
  Answer answer;
  answer.add(there.status(), id);
  if (there.ok()) answer.add(" ").add(*there);
  co_return answer;
}

Task<Answer> ask_remove(Subject& subject, size_t process, size_t job) {
  const std::string id = subject.names.id(job);
  const Status status = co_await subject.store(process).remove(id);
  Answer answer;
  answer.add(status, id);
  co_return answer;
}

Task<Answer> ask_sweep(Subject& subject, size_t process, size_t max_items) {
  Answer answer;
  while (true) {
    const auto swept = co_await subject.store(process).sweep(max_items);
    if (swept.ok() && *swept == max_items) continue;
    answer.add(swept.status());
    if (swept.ok() && *swept > max_items) answer.add(" too many");
    co_return answer;
  }
}

Task<Answer> ask_promote(Subject& subject, size_t process, size_t max_jobs) {
  const auto promoted = co_await subject.store(process).promote(max_jobs);
  Answer answer;
  answer.add(promoted.status());
  if (!promoted.ok()) co_return answer;
  answer.add(" ").add(promoted->jobs);
  // A server's clock is not quite ours.
  if (promoted->next_in) answer.add(" next in ").add((promoted->next_in->count() + 500) / 1000);
  co_return answer;
}

Task<void> ask_all_once(Subject& subject) {
  v1::JobSpec spec;
  spec.set_id("first-job-of-all");
  spec.set_queue("first");
  spec.set_type("first");
  spec.mutable_retention()->set_seconds(0);
  std::vector<v1::JobSpec> specs{spec};
  co_await ask_submit(subject, 0, std::move(specs));
  const Claim claim;
  std::vector<SettleCall> settles(1);
  settles[0].claim = claim;
  settles[0].state = v1::JOB_STATE_DEAD;
  co_await ask_settle_and_take(subject, 0, std::move(settles), 0, {}, "");
  std::vector<Claim> claims{claim};
  co_await ask_release(subject, 0, std::move(claims));
  std::vector<std::pair<Claim, v1::Progress>> progress{{claim, v1::Progress()}};
  co_await ask_save_progress(subject, 0, std::move(progress));
  std::vector<AppendCall> appends(1);
  appends[0].chunks = {"chunk"};
  co_await ask_append(subject, 0, std::move(appends));
  co_await ask_trim(subject, 0, claim.job, 1);
  co_await ask_send(subject, 0, SendCall());
  co_await ask_consumed(subject, 0, claim, 1);
  co_await ask_read(subject, 0, claim.job, 0, 1);
  co_await ask_read_sends(subject, 0, claim.job, 0);
  co_await ask_get(subject, 0, claim.job, false);
  co_await ask_list(subject, 0, {}, "", 1);
  co_await ask_retry(subject, 0, claim.job);
  co_await ask_remove(subject, 0, claim.job);
  co_await ask_sweep(subject, 0, 1);
  co_await ask_promote(subject, 0, 1);
  (void)co_await subject.store(0).cancel(spec.id(), "");
}

}  // namespace weft::testing
