// News as bytes: what is not whole is not believed.
#include <gmock/gmock.h>
#include <google/protobuf/stubs/logging.h>

#include <weft/base/random.h>
#include <weft/store/redis/redis_news_message.h>
#include <weft/store/redis/redis_record.h>

namespace weft {
namespace {

using ::testing::ElementsAre;

class Listener final : public StoreListener {
 public:
  void on_work() override { told.push_back("work"); }
  void on_cancel_requested(const std::string& id, const std::string& reason) override {
    told.push_back("cancel " + id + " " + reason);
  }
  void on_finished(const v1::Job& job) override {
    told.push_back("finished " + job.spec().id() + " " + job.outcome().result());
  }
  void on_send(const std::string& id, uint64_t number, const std::string& value) override {
    told.push_back("send " + id + " " + std::to_string(number) + " " + value);
  }
  void on_entries(const std::string& id, const ChunkBlockPtr& block) override {
    // What is there can be looked at.
    std::string all;
    for (size_t i = 0; i < block->count(); ++i) all += block->chunk(i);
    told.push_back("entries " + id + " " + std::to_string(block->first_sequence) + " " + all);
  }
  void on_stored(const std::string& id, uint64_t last) override {
    told.push_back("stored " + id + " " + std::to_string(last));
  }
  void on_progress(const std::string& id, const v1::Progress& progress) override {
    told.push_back("progress " + id + " " + progress.message());
  }
  void on_retried(const v1::Job& job) override { told.push_back("retried " + job.spec().id()); }
  void on_removed(const std::string& id) override { told.push_back("removed " + id); }
  void on_readers(const RemoteReaders& readers) override {
    told.push_back("readers " + readers.job_id + " " + std::to_string(readers.from.low) + " " +
                   std::to_string(readers.readers.passive) + " " +
                   std::to_string(readers.readers.attached) + " " +
                   std::to_string(readers.readers.credit) + " " +
                   std::to_string(readers.readers.cursor) + " " + std::to_string(readers.attempt));
  }
  void on_readers_detached(const std::string& id, uint64_t first) override {
    told.push_back("detached " + id + " " + std::to_string(first));
  }
  std::vector<std::string> told;
};

std::string with_length(const std::string& text) {
  return to_bytes(uint64_t{text.size()}).substr(4) + text;
}

// A record as scripts make it: state, finish, flags, crashes, worker, attempt, age, start,
// consumed, submit, retention, first and three numbers of the stream, six of its times, key,
// reason, queue, type.
std::string record(v1::JobState state, uint8_t flags) {
  std::string out(1, static_cast<char>(state));
  out += to_bytes(uint64_t{5}) + static_cast<char>(flags) + std::string(1, '\0');
  out += std::string(16, '\0') + to_bytes(uint64_t{1}).substr(4);
  for (int i = 0; i < 4; ++i) out += to_bytes(uint64_t{7});
  out += to_bytes(uint64_t{1000}) + to_bytes(uint64_t{1}) + std::string(24 + 48, '\0');
  return out + std::string(3, '\0') + "\7default\3any";
}

std::string news(char letter, const std::string& body) {
  const std::string id = "job1234567";
  return letter + std::string(1, static_cast<char>(id.size())) + id + body;
}

std::vector<std::string> all_news() {
  ChunkBlock block(3);
  block.add("three");
  block.add("four");
  v1::Outcome outcome;
  outcome.set_result("result");
  v1::Progress progress;
  progress.set_message("half");
  const StreamReaders readers{.passive = 1, .attached = 2, .credit = UINT64_MAX, .cursor = 9};
  return {
      std::string("w\0", 2),
      news('c', "reason"),
      news('s', to_bytes(uint64_t{4}) + "value"),
      news('e', to_bytes(block)),
      news('n', to_bytes(uint64_t{12})),
      news('f', with_length(record(v1::JOB_STATE_SUCCEEDED, 8)) +
                    with_length(outcome.SerializeAsString())),
      news('p', progress.SerializeAsString()),
      news('r', with_length(record(v1::JOB_STATE_QUEUED, 0)) + with_length("")),
      news('x', ""),
      news('R', watch_entry({1, 2}, readers)),
      news('D', to_bytes(uint64_t{77})),
  };
}

TEST(RedisNewsMessage, EachKindIsTold) {
  Listener listener;
  std::string id;
  for (const std::string& message : all_news()) {
    EXPECT_EQ(tell_news(message, listener, id), NewsResult::kTold) << message[0];
  }
  EXPECT_THAT(
      listener.told,
      ElementsAre("work", "cancel job1234567 reason", "send job1234567 4 value",
                  "entries job1234567 3 threefour", "stored job1234567 12",
                  "finished job1234567 result", "progress job1234567 half", "retried job1234567",
                  "removed job1234567", "readers job1234567 2 1 2 18446744073709551615 9 0",
                  "detached job1234567 77"));
}

TEST(RedisNewsMessage, AnOutcomeLeftOutHasToBeAskedFor) {
  Listener listener;
  std::string id;
  const std::string large =
      news('f', with_length(record(v1::JOB_STATE_SUCCEEDED, 8)) + with_length(""));
  EXPECT_EQ(tell_news(large, listener, id), NewsResult::kAskForEnd);
  EXPECT_EQ(id, "job1234567");
  EXPECT_TRUE(listener.told.empty());
  const std::string none =
      news('f', with_length(record(v1::JOB_STATE_SUCCEEDED, 0)) + with_length(""));
  EXPECT_EQ(tell_news(none, listener, id), NewsResult::kTold);
  EXPECT_THAT(listener.told, ElementsAre("finished job1234567 "));
}

TEST(RedisNewsMessage, AnEndThatIsNoneIsNotBelieved) {
  Listener listener;
  std::string id;
  const std::string runs =
      news('f', with_length(record(v1::JOB_STATE_QUEUED, 0)) + with_length(""));
  EXPECT_EQ(tell_news(runs, listener, id), NewsResult::kNotNews);
  const std::string ended = news('r', with_length(record(v1::JOB_STATE_DEAD, 0)) + with_length(""));
  EXPECT_EQ(tell_news(ended, listener, id), NewsResult::kNotNews);
  EXPECT_TRUE(listener.told.empty());
}

// Cut off anywhere, or with any byte changed: dropped, or told as what it says then.
TEST(RedisNewsMessage, DamageDoesNoHarm) {
  const google::protobuf::LogSilencer quiet;
  Random random(1);
  std::string id;
  for (const std::string& message : all_news()) {
    for (size_t size = 0; size < message.size(); ++size) {
      Listener listener;
      // A heap copy of just that size, so that a sanitizer sees a read behind its end.
      const std::vector<char> part(message.begin(), message.begin() + static_cast<ptrdiff_t>(size));
      tell_news(std::string_view(part.data(), part.size()), listener, id);
    }
    for (int round = 0; round < 2000; ++round) {
      Listener listener;
      std::vector<char> other(message.begin(), message.end());
      for (uint64_t i = 0; i <= random.below(3); ++i) {
        other[random.below(other.size())] = static_cast<char>(random.next());
      }
      tell_news(std::string_view(other.data(), other.size()), listener, id);
    }
  }
}

TEST(RedisNewsMessage, ReadersOfThisProcessAreLeftOut) {
  const StreamReaders one{.passive = 1};
  std::vector<RemoteReaders> readers;
  add_remote_readers("job1234567", watch_entry({1, 2}, one) + watch_entry({3, 4}, one) + "rest",
                     {1, 2}, 7, readers);
  ASSERT_EQ(readers.size(), 1u);
  EXPECT_EQ(readers[0].attempt, 7u);
  EXPECT_EQ(readers[0].from, (Incarnation{3, 4}));
  EXPECT_EQ(readers[0].readers, one);
}

}  // namespace
}  // namespace weft
