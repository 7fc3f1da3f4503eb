// SharedMemory: one memory store that several processes of a test share, and the news they get of
// each other: late, in another order, twice or not at all, by a seed.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <weft/base/random.h>
#include <weft/runtime/event.h>
#include <weft/store/store.h>

namespace weft::testing {

struct NewsOptions {
  uint64_t seed = 1;
  int64_t delay_us = 100;  // at most, of news and of answers to get()
  bool disorder = false;   // entries and ends come in any order, and some twice
  size_t push_bytes = limits::kRedisPushBytes;
};

// Thread: the loop's. Lifetime: outlives the stores it opens.
class SharedMemory final : private StoreListener {
 public:
  explicit SharedMemory(NewsOptions options = {}, StoreOptions store_options = {});

  // The store as the process `self` has it.
  std::unique_ptr<Store> open(Incarnation self);
  // Brings the news, until cancelled.
  Task<void> carry();
  // Nothing reaches `self` any more, until mend(), which says so: on_resync().
  void cut(Incarnation self);
  void mend(Incarnation self);
  // What `self` has said of its readers of a stream.
  StreamReaders told(Incarnation self, const std::string& job_id) const;
  // How often follow() was called.
  size_t follows() const { return follows_; }
  // Has nothing under way.
  bool quiet() const { return news_.empty(); }

 private:
  class View;
  using Tell = std::function<void(StoreListener&)>;
  enum class Order : uint8_t { kKept, kAny };
  struct Process {
    StoreListener* listener = nullptr;
    bool cut = false;
    std::map<std::string, StreamReaders> follows;
    int64_t last_due_ns = 0;
  };
  using Name = std::pair<uint64_t, uint64_t>;
  static Name name_of(Incarnation self) { return {self.high, self.low}; }

  std::chrono::nanoseconds some_time();
  void post(Name to, Order order, Tell tell);
  void post_to_followers(const std::string& job_id, Name but, Order order, const Tell& tell);
  void post_block(const std::string& job_id, Name but, const ChunkBlockPtr& block);
  std::vector<RemoteReaders> watching(const std::string& job_id, Name but) const;

  void on_work() override;
  void on_cancel_requested(const std::string& job_id, const std::string& reason) override;
  void on_finished(const v1::Job& job) override;
  void on_send(const std::string& job_id, uint64_t number, const std::string& value) override;

  const NewsOptions options_;
  Random random_;
  std::shared_ptr<Store> store_;
  std::map<Name, Process> processes_;
  std::map<std::string, Name> workers_;                 // who runs a job
  std::map<std::string, Name> actors_;                  // whose verb is about to end a job
  std::multimap<int64_t, std::pair<Name, Tell>> news_;  // by when they are due
  Event posted_;
  size_t follows_ = 0;
};

}  // namespace weft::testing
