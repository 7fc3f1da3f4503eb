// RedisBatch: what a turn asked for, and what came while the last call was under way, in one call.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <weft/base/limits.h>
#include <weft/runtime/event.h>
#include <weft/runtime/event_loop.h>
#include <weft/runtime/semaphore.h>
#include <weft/store/redis/own_tasks.h>

namespace weft {

// So batches grow with the load by themselves, and a lone call waits for nobody.
// Thread: the loop's. Lifetime: its tasks are joined before it is destroyed.
// Limits: kRedisScriptItems and kRedisScriptBytes a call.
template <typename Item, typename Answer>
class RedisBatch final : private TurnEndHook {
  // The items of one verb.
  struct Group {
    std::vector<std::optional<Answer>> answers;
    size_t missing = 0;
    Event done;
    std::vector<Semaphore::Permit> permits;
  };

 public:
  class Entry {
   public:
    Item item;
    void answer(Answer value) const {
      group->answers[index].emplace(std::move(value));
      if (--group->missing == 0) {
        group->permits.clear();
        group->done.set();
      }
    }

   private:
    friend class RedisBatch;
    Entry(Item its, size_t size, std::shared_ptr<Group> of, size_t at)
        : item(std::move(its)), bytes(size), group(std::move(of)), index(at) {}
    size_t bytes;
    std::shared_ptr<Group> group;
    size_t index;
  };
  using Entries = std::vector<Entry>;
  // Makes the call and answers every entry.
  using Send = std::function<Task<void>(Entries)>;

  RedisBatch(OwnTasks& tasks, Send send) : tasks_(tasks), send_(std::move(send)) {}
  RedisBatch(const RedisBatch&) = delete;
  RedisBatch& operator=(const RedisBatch&) = delete;

  // `bytes_of` one item; `permits` are given back with the last answer.
  template <typename BytesOf>
  Task<std::vector<Answer>> add(std::vector<Item> items, BytesOf bytes_of,
                                std::vector<Semaphore::Permit> permits) {
    const auto group = std::make_shared<Group>();
    group->answers.resize(items.size());
    group->missing = items.size();
    group->permits = std::move(permits);
    if (!items.empty()) {
      if (waiting_.empty() && !calling_) EventLoop::current()->at_turn_end(*this);
      for (size_t i = 0; i < items.size(); ++i) {
        const size_t bytes = bytes_of(items[i]);
        waiting_.push_back(Entry(std::move(items[i]), bytes, group, i));
      }
      co_await group->done.wait();
    }
    std::vector<Answer> answers;
    answers.reserve(group->answers.size());
    for (auto& answer : group->answers) answers.push_back(*std::move(answer));
    co_return answers;
  }

 private:
  void on_turn_end() override {
    calling_ = true;
    tasks_.start([](RedisBatch* batch) { return batch->call_all(); }, this);
  }
  Task<void> call_all() {
    while (!waiting_.empty()) {
      Entries entries;
      size_t bytes = 0;
      while (!waiting_.empty() && entries.size() < limits::kRedisScriptItems &&
             (entries.empty() || bytes + waiting_.front().bytes <= limits::kRedisScriptBytes)) {
        bytes += waiting_.front().bytes;
        entries.push_back(std::move(waiting_.front()));
        waiting_.pop_front();
      }
      co_await send_(std::move(entries));
    }
    calling_ = false;
  }

  OwnTasks& tasks_;
  const Send send_;
  std::deque<Entry> waiting_;
  bool calling_ = false;
};

}  // namespace weft
