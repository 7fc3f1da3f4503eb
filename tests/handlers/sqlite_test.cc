// The same promises on a store with threads of its own and a disk.
#include <gmock/gmock.h>

#include <filesystem>

#include "daemon/handlers/handlers.h"
#include "tests/support/coro_test.h"
#include "tests/support/worker_bed.h"

namespace weft {
namespace {

using testing::BedOptions;
using ::testing::ElementsAre;
using testing::Read;
using testing::read;
using testing::settle_down;
using testing::with_bed;
using testing::WorkerBed;

class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "weft-sqlite-XXXXXX").string();
    path = mkdtemp(pattern.data());
  }
  ~TempFolder() { std::filesystem::remove_all(path); }
  std::string url() const { return "sqlite:" + (path / "weft.db").string(); }
  std::filesystem::path path;
};

Task<void> with_stock_bed(std::string url, std::function<Task<void>(WorkerBed&)> body) {
  Registry registry;
  register_stock_handlers(registry, {});
  BedOptions options;
  options.store_url = std::move(url);
  co_await with_bed(std::move(options), std::move(registry), std::move(body));
}

CORO_TEST(OnSqlite, StreamsReachTheirReadersWhole) {
  TempFolder folder;
  auto body = [&](WorkerBed& bed) -> Task<void> {
    std::vector<std::string> ids;
    for (int i = 0; i < 10; ++i) ids.push_back(co_await bed.submit("count", R"({"to":5000})"));
    for (const std::string& id : ids) {
      auto live = co_await bed.attach(id, UINT64_MAX);
      const Read got = co_await read(*live);
      WEFT_ASSERT(got.chunks.size() == 5000);
      EXPECT_EQ(got.chunks.back(), "5000");
      EXPECT_EQ(got.finished->state(), v1::JOB_STATE_SUCCEEDED);
      auto later = co_await bed.watch(id, 4999);
      const Read end = co_await read(*later);
      EXPECT_THAT(end.chunks, ElementsAre("4999", "5000"));
    }
  };
  co_await with_stock_bed(folder.url(), body);
}

// Trims, appends, reads from the log and checkpoints, all at once and many times the bound.
CORO_TEST(OnSqlite, StreamFarBeyondItsBoundIsReadToItsEnd) {
  TempFolder folder;
  constexpr uint64_t kChunks = 60'000;
  Registry registry;
  auto handler = [](Job) -> Stream<std::string> {
    for (uint64_t i = 1; i <= kChunks; ++i) {
      std::string chunk = std::to_string(i);
      chunk.resize(300, '.');
      co_yield std::move(chunk);
    }
  };
  registry.add("long", make_handler(handler));
  auto body = [&](WorkerBed& bed) -> Task<void> {
    const std::string id = co_await bed.submit("long");
    uint64_t next = 1;
    size_t most_kept = 0;
    auto reader = co_await bed.watch(id, 1);
    for (bool finished = false; !finished;) {
      auto event = co_await reader->next();
      WEFT_ASSERT(event.ok() && event->has_value());
      finished = (*event)->has_finished();
      if (!(*event)->has_chunks()) continue;
      WEFT_ASSERT((*event)->chunks().first_sequence() == next);
      for (const std::string& chunk : (*event)->chunks().data()) {
        WEFT_ASSERT(chunk.starts_with(std::to_string(next) + "."));
        ++next;
      }
      const v1::Job job = co_await bed.get(id);
      most_kept = std::max(most_kept, job.last_sequence() + 1 - job.first_sequence());
    }
    EXPECT_EQ(next, kChunks + 1);
    EXPECT_LE(most_kept, 2000u);
    const v1::Job job = co_await bed.get(id);
    EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
    EXPECT_EQ(job.last_sequence(), kChunks);
    auto rest = co_await bed.watch(id);
    const Read kept = co_await read(*rest);
    EXPECT_EQ(kept.sequences.front(), job.first_sequence());
    EXPECT_EQ(kept.sequences.back(), kChunks);
  };
  BedOptions options;
  options.store_url = folder.url();
  options.hub.stream_chunks = 2000;
  co_await with_bed(std::move(options), std::move(registry), body);
}

CORO_TEST(OnSqlite, HandedBackJobGoesOnInTheNextProcess) {
  TempFolder folder;
  std::string id;
  auto first = [&](WorkerBed& bed) -> Task<void> {
    id = co_await bed.submit("count", R"({"to":20,"delay_ms":1000})");
    co_await bed.send(id, R"({"step":5})");
    auto reader = co_await bed.attach(id, UINT64_MAX);
    const Read got = co_await read(*reader, 2);
    EXPECT_EQ(got.chunks.front(), "1");
  };
  co_await with_stock_bed(folder.url(), first);
  auto second = [&](WorkerBed& bed) -> Task<void> {
    co_await bed.finished(id);
    auto reader = co_await bed.watch(id);
    const Read got = co_await read(*reader);
    // The new attempt gets the send again, from its own first value on.
    EXPECT_THAT(got.chunks, ElementsAre("1", "6", "11", "16"));
    EXPECT_EQ(got.finished->state(), v1::JOB_STATE_SUCCEEDED);
    const v1::Job job = co_await bed.get(id);
    EXPECT_EQ(job.attempt(), 2u);
  };
  co_await with_stock_bed(folder.url(), second);
}

}  // namespace
}  // namespace weft
