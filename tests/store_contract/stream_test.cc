// What a store promises about streams and sends.
#include <gmock/gmock.h>

#include <weft/base/limits.h>

#include "tests/store_contract/fixture.h"

namespace weft::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

STORE_TEST(ChunksAreReadAsAppended) {
  const v1::Job job = co_await harness.run_one();
  const Token token = Harness::token_of(job);
  const Status first = co_await harness.append(token, 1, {"a", "", "c"});
  const Status second = co_await harness.append(token, 4, {"d"});
  EXPECT_TRUE(first.ok() && second.ok());
  const auto all = co_await harness.read(job.spec().id());
  EXPECT_THAT(all, ElementsAre("1:a", "2:", "3:c", "4:d"));
  const v1::Job stored = co_await harness.get(job.spec().id());
  EXPECT_EQ(stored.last_sequence(), 4u);
}

STORE_TEST(ReadsFromAnySequence) {
  const v1::Job job = co_await harness.run_one();
  const Token token = Harness::token_of(job);
  co_await harness.must(harness.append(token, 1, {"a", "b", "c"}));
  co_await harness.must(harness.append(token, 4, {"d", "e"}));
  const auto from_two = co_await harness.read(job.spec().id(), 2);
  const auto from_five = co_await harness.read(job.spec().id(), 5);
  const auto from_end = co_await harness.read(job.spec().id(), 6);
  EXPECT_THAT(from_two, ElementsAre("2:b", "3:c", "4:d", "5:e"));
  EXPECT_THAT(from_five, ElementsAre("5:e"));
  EXPECT_THAT(from_end, IsEmpty());
}

STORE_TEST(PagesHaveNoGapsAndNoRepeats) {
  const v1::Job job = co_await harness.run_one();
  const Token token = Harness::token_of(job);
  std::vector<std::string> expected;
  uint64_t next = 1;
  for (int block = 0; block < 20; ++block) {
    std::vector<std::string> chunks;
    const uint64_t first = next;
    for (int i = 0; i <= block; ++i, ++next) {
      chunks.push_back(std::to_string(next * 7));
      expected.push_back(std::to_string(next) + ":" + chunks.back());
    }
    const Status appended = co_await harness.append(token, first, chunks);
    EXPECT_TRUE(appended.ok());
  }
  for (const size_t max_bytes : {size_t{0}, size_t{1}, size_t{10}, size_t{64}, size_t{100'000}}) {
    std::vector<std::string> got;
    uint64_t from = 1;
    while (from < next) {
      const auto page = co_await harness.store().read(job.spec().id(), from, max_bytes);
      WEFT_ASSERT(page.ok() && !page->blocks.empty());
      EXPECT_EQ(page->blocks.front()->first_sequence, from);
      EXPECT_EQ(page->first_sequence, 1u);
      EXPECT_EQ(page->last_sequence, next - 1);
      size_t bytes = 0;
      for (const ChunkBlockPtr& block : page->blocks) bytes += block->bytes.size();
      EXPECT_LE(bytes, std::max<size_t>(max_bytes + 8, 8));
      for (std::string& entry : to_text(*page)) got.push_back(std::move(entry));
      from = page->blocks.back()->last_sequence() + 1;
    }
    EXPECT_EQ(got, expected);
  }
}

STORE_TEST(StreamOfAJobWithoutChunksIsEmpty) {
  const std::string id = co_await harness.add(Harness::make_spec());
  const auto page = co_await harness.store().read(id, 0, 100);
  WEFT_ASSERT(page.ok());
  EXPECT_TRUE(page->blocks.empty());
  EXPECT_EQ(page->first_sequence, 1u);
  EXPECT_EQ(page->last_sequence, 0u);
}

STORE_TEST(RepeatedAppendIsSilent) {
  const v1::Job job = co_await harness.run_one();
  const Token token = Harness::token_of(job);
  co_await harness.must(harness.append(token, 1, {"a", "b"}));
  const Status same = co_await harness.append(token, 1, {"a", "b"});
  const Status overlapping = co_await harness.append(token, 2, {"b", "c"});
  EXPECT_TRUE(same.ok()) << same;
  EXPECT_TRUE(overlapping.ok()) << overlapping;
  const auto all = co_await harness.read(job.spec().id());
  EXPECT_THAT(all, ElementsAre("1:a", "2:b", "3:c"));
}

STORE_TEST(GapsAreRefused) {
  const v1::Job job = co_await harness.run_one();
  const Token token = Harness::token_of(job);
  co_await harness.must(harness.append(token, 1, {"a"}));
  const Status gap = co_await harness.append(token, 3, {"c"});
  EXPECT_EQ(gap.code(), StatusCode::kFailedPrecondition);
  const auto all = co_await harness.read(job.spec().id());
  EXPECT_THAT(all, ElementsAre("1:a"));
}

STORE_TEST(OneBatchAppendsToManyStreams) {
  const v1::Job a = co_await harness.run_one();
  const v1::Job b = co_await harness.run_one();
  const auto block = [](uint64_t first, const char* text) {
    auto made = std::make_shared<ChunkBlock>(first);
    made->add(text);
    return made;
  };
  std::vector<Append> appends;
  appends.emplace_back(Harness::token_of(a), block(1, "a1"));
  appends.emplace_back(Harness::token_of(b), block(1, "b1"));
  appends.emplace_back(Harness::token_of(a), block(2, "a2"));
  appends.emplace_back(Harness::token_of(b), block(3, "b3"));
  appends.emplace_back(Harness::token_of(b, Harness::kOtherWorker), block(2, "b2"));
  const auto answers = co_await harness.store().append(appends);
  WEFT_ASSERT(answers.size() == 5);
  EXPECT_TRUE(answers[0].ok() && answers[1].ok() && answers[2].ok());
  EXPECT_EQ(answers[3].code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(answers[4].code(), StatusCode::kAborted);
  const auto of_a = co_await harness.read(a.spec().id());
  const auto of_b = co_await harness.read(b.spec().id());
  EXPECT_THAT(of_a, ElementsAre("1:a1", "2:a2"));
  EXPECT_THAT(of_b, ElementsAre("1:b1"));
}

STORE_TEST(NewAttemptIsMarkedInTheStream) {
  const v1::Job first = co_await harness.run_one();
  const std::string id = first.spec().id();
  co_await harness.must(harness.append(Harness::token_of(first), 1, {"a", "b"}));
  co_await harness.must(harness.release(Harness::token_of(first)));
  auto jobs = co_await harness.take(1);
  WEFT_ASSERT(jobs.size() == 1);
  EXPECT_EQ(jobs[0].attempt(), 2u);
  EXPECT_EQ(jobs[0].last_sequence(), 3u);
  EXPECT_EQ(jobs[0].attempt_sequence(), 3u);
  const Status appended = co_await harness.append(Harness::token_of(jobs[0]), 4, {"a"});
  EXPECT_TRUE(appended.ok()) << appended;
  const auto all = co_await harness.read(id);
  EXPECT_THAT(all, ElementsAre("1:a", "2:b", "3:attempt 2", "4:a"));
  const Status settled =
      co_await harness.settle(Harness::token_of(jobs[0]), v1::JOB_STATE_SUCCEEDED, 4);
  EXPECT_TRUE(settled.ok()) << settled;
  const v1::Job stored = co_await harness.get(id);
  EXPECT_EQ(stored.last_sequence(), 4u);
  EXPECT_EQ(stored.attempt_sequence(), 3u);
}

STORE_TEST(NewAttemptWithoutChunksLeavesNoMark) {
  const v1::Job first = co_await harness.run_one();
  co_await harness.must(harness.release(Harness::token_of(first)));
  auto jobs = co_await harness.take(1);
  WEFT_ASSERT(jobs.size() == 1);
  EXPECT_EQ(jobs[0].attempt_sequence(), 0u);
  const auto all = co_await harness.read(first.spec().id());
  EXPECT_THAT(all, IsEmpty());
}

STORE_TEST(CancelOfARequeuedJobKeepsItsStream) {
  const v1::Job job = co_await harness.run_one();
  co_await harness.must(harness.append(Harness::token_of(job), 1, {"a", "b"}));
  co_await harness.must(harness.release(Harness::token_of(job)));
  co_await harness.must(harness.store().cancel(job.spec().id(), ""));
  WEFT_ASSERT(harness.told.finished.size() == 1);
  EXPECT_EQ(harness.told.finished[0].last_sequence(), 2u);
  const auto all = co_await harness.read(job.spec().id());
  EXPECT_THAT(all, ElementsAre("1:a", "2:b"));
}

STORE_TEST(TrimForgetsTheHead) {
  const v1::Job job = co_await harness.run_one();
  const std::string id = job.spec().id();
  const Token token = Harness::token_of(job);
  co_await harness.must(harness.append(token, 1, {"a", "b", "c"}));
  co_await harness.must(harness.append(token, 4, {"d"}));
  const Status trimmed = co_await harness.store().trim(id, 3);
  EXPECT_TRUE(trimmed.ok()) << trimmed;
  const auto below = co_await harness.store().read(id, 2, 100);
  EXPECT_EQ(below.status().code(), StatusCode::kOutOfRange);
  EXPECT_THAT(std::string(below.status().message()), HasSubstr("3"));
  const auto rest = co_await harness.read(id);
  EXPECT_THAT(rest, ElementsAre("3:c", "4:d"));
  const v1::Job stored = co_await harness.get(id);
  EXPECT_EQ(stored.first_sequence(), 3u);
  EXPECT_EQ(stored.last_sequence(), 4u);
}

STORE_TEST(TrimOfEverythingKeepsTheNumbers) {
  const v1::Job job = co_await harness.run_one();
  const std::string id = job.spec().id();
  const Token token = Harness::token_of(job);
  co_await harness.must(harness.append(token, 1, {"a", "b"}));
  const Status trimmed = co_await harness.store().trim(id, 100);
  EXPECT_TRUE(trimmed.ok()) << trimmed;
  const Status back = co_await harness.store().trim(id, 1);
  EXPECT_TRUE(back.ok()) << back;
  const auto empty = co_await harness.read(id);
  EXPECT_THAT(empty, IsEmpty());
  const Status appended = co_await harness.append(token, 3, {"c"});
  EXPECT_TRUE(appended.ok()) << appended;
  const auto rest = co_await harness.read(id);
  EXPECT_THAT(rest, ElementsAre("3:c"));
  const Status settled = co_await harness.settle(token, v1::JOB_STATE_SUCCEEDED, 3);
  EXPECT_TRUE(settled.ok());
  WEFT_ASSERT(harness.told.finished.size() == 1);
  EXPECT_EQ(harness.told.finished[0].first_sequence(), 3u);
}

STORE_TEST(ChunksAreBinarySafeAndLarge) {
  const v1::Job job = co_await harness.run_one();
  std::string large(limits::kChunkBytes, '\0');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 131);
  const std::string nul("\0\0x\0", 4);
  const Status appended = co_await harness.append(Harness::token_of(job), 1, {nul, large, ""});
  EXPECT_TRUE(appended.ok()) << appended;
  const auto page = co_await harness.store().read(job.spec().id(), 1, 4 << 20);
  WEFT_ASSERT(page.ok() && page->blocks.size() == 1 && page->blocks[0]->count() == 3);
  EXPECT_EQ(page->blocks[0]->chunk(0), nul);
  EXPECT_TRUE(page->blocks[0]->chunk(1) == large);
  EXPECT_EQ(page->blocks[0]->chunk(2), "");
}

STORE_TEST(SendsAreNumberedAndKept) {
  const std::string id = co_await harness.add(Harness::make_spec());
  const auto queued = co_await harness.store().send(id, "", 0, std::string("\0a", 2));
  auto jobs = co_await harness.take(1);
  WEFT_ASSERT(jobs.size() == 1);
  EXPECT_EQ(jobs[0].last_send(), 1u);
  const auto running = co_await harness.store().send(id, "ann", 1, "b");
  WEFT_ASSERT(queued.ok() && running.ok());
  EXPECT_EQ(*queued, 1u);
  EXPECT_EQ(*running, 2u);
  const auto all = co_await harness.store().read_sends(id, 0);
  const auto after = co_await harness.store().read_sends(id, 1);
  WEFT_ASSERT(all.ok() && after.ok() && all->size() == 2 && after->size() == 1);
  EXPECT_EQ((*all)[0].value, std::string("\0a", 2));
  EXPECT_EQ((*after)[0].number, 2u);
  EXPECT_EQ((*after)[0].value, "b");
  const v1::Job stored = co_await harness.get(id);
  EXPECT_EQ(stored.last_send(), 2u);
  EXPECT_THAT(harness.told.events.back(), "send " + id + " 2 b");
}

STORE_TEST(RepeatedSendIsTakenOnce) {
  const v1::Job job = co_await harness.run_one();
  const std::string id = job.spec().id();
  Store& store = harness.store();
  const auto one = co_await store.send(id, "ann", 1, "x");
  const auto other = co_await store.send(id, "bob", 1, "y");
  const auto two = co_await store.send(id, "ann", 2, "z");
  const auto one_again = co_await store.send(id, "ann", 1, "x");
  const auto two_again = co_await store.send(id, "ann", 2, "z");
  const auto unnamed = co_await store.send(id, "", 1, "u");
  const auto unnamed_again = co_await store.send(id, "", 1, "u");
  const auto unnumbered = co_await store.send(id, "ann", 0, "n");
  const auto five = co_await store.send(id, "ann", 5, "5");
  const auto skipped = co_await store.send(id, "ann", 4, "4");
  WEFT_ASSERT(five.ok() && skipped.ok());
  EXPECT_EQ(*skipped, *five);
  WEFT_ASSERT(one.ok() && other.ok() && two.ok() && one_again.ok() && two_again.ok() &&
              unnamed.ok() && unnamed_again.ok() && unnumbered.ok());
  EXPECT_EQ(*one, 1u);
  EXPECT_EQ(*other, 2u);
  EXPECT_EQ(*two, 3u);
  EXPECT_EQ(*one_again, 1u);
  EXPECT_EQ(*two_again, 3u);
  EXPECT_EQ(*unnamed, 4u);
  EXPECT_EQ(*unnamed_again, 5u);
  EXPECT_EQ(*unnumbered, 6u);
  co_await harness.must(harness.settle(Harness::token_of(job)));
  const auto after_end = co_await store.send(id, "ann", 2, "z");
  EXPECT_TRUE(after_end.ok() && *after_end == 3u) << after_end.status();
}

STORE_TEST(UnconsumedSendsAreBounded) {
  const v1::Job job = co_await harness.run_one();
  const std::string id = job.spec().id();
  Store& store = harness.store();
  for (uint64_t i = 1; i <= limits::kUnconsumedSends; ++i) {
    const auto sent = co_await store.send(id, "", 0, "v");
    EXPECT_TRUE(sent.ok()) << sent.status();
  }
  const auto refused = co_await store.send(id, "", 0, "v");
  EXPECT_EQ(refused.status().code(), StatusCode::kResourceExhausted);
  store.consumed(Harness::token_of(job, Harness::kOtherWorker), 10);
  const auto still = co_await store.send(id, "", 0, "v");
  EXPECT_EQ(still.status().code(), StatusCode::kResourceExhausted);
  store.consumed(Harness::token_of(job), 1);
  const auto room = co_await store.send(id, "", 0, "v");
  EXPECT_TRUE(room.ok()) << room.status();
  const auto full_again = co_await store.send(id, "", 0, "v");
  EXPECT_EQ(full_again.status().code(), StatusCode::kResourceExhausted);
  // A new attempt reads them from the start.
  store.consumed(Harness::token_of(job), 65);
  co_await harness.must(harness.release(Harness::token_of(job)));
  co_await harness.take(1);
  const auto new_attempt = co_await store.send(id, "", 0, "v");
  EXPECT_EQ(new_attempt.status().code(), StatusCode::kResourceExhausted);
}

STORE_TEST(OnlyTheNewestSendsAreKept) {
  const v1::Job job = co_await harness.run_one();
  const std::string id = job.spec().id();
  Store& store = harness.store();
  const uint64_t total = limits::kKeptSends + 10;
  for (uint64_t i = 1; i <= total; ++i) {
    const auto sent = co_await store.send(id, "ann", i, std::to_string(i));
    EXPECT_TRUE(sent.ok() && *sent == i) << sent.status();
    store.consumed(Harness::token_of(job), i);
  }
  const auto kept = co_await store.read_sends(id, 0);
  WEFT_ASSERT(kept.ok());
  EXPECT_EQ(kept->size(), limits::kKeptSends);
  EXPECT_EQ(kept->front().number, 11u);
  EXPECT_EQ(kept->back().number, total);
  const auto forgotten = co_await store.send(id, "ann", 3, "3");
  EXPECT_TRUE(forgotten.ok()) << forgotten.status();
  const v1::Job stored = co_await harness.get(id);
  EXPECT_EQ(stored.last_send(), total);
}

STORE_TEST(EndedJobTakesNoSends) {
  const v1::Job job = co_await harness.run_one();
  co_await harness.must(harness.store().send(job.spec().id(), "", 0, "kept"));
  co_await harness.must(harness.settle(Harness::token_of(job)));
  const auto refused = co_await harness.store().send(job.spec().id(), "", 0, "late");
  EXPECT_EQ(refused.status().code(), StatusCode::kFailedPrecondition);
  const auto kept = co_await harness.store().read_sends(job.spec().id(), 0);
  WEFT_ASSERT(kept.ok());
  EXPECT_EQ(kept->size(), 1u);
  WEFT_ASSERT(harness.told.finished.size() == 1);
  EXPECT_EQ(harness.told.finished[0].last_send(), 1u);
}

}  // namespace
}  // namespace weft::testing
