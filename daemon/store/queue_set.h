// QueueSet: which queued job is taken next: the first of a queue whose type has room, the queues in
// turn.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <weft/base/intrusive_list.h>
#include <weft/base/status.h>
#include <weft/store/job_store.h>

namespace weft {

// How many more jobs of each type may be taken. Lifetime: shorter than that of `rooms`.
class TypeRooms {
 public:
  explicit TypeRooms(const std::vector<TypeRoom>& rooms) {
    for (const TypeRoom& room : rooms) rooms_[to_absl(room.type)] = room.jobs;
  }
  bool has(const std::string& type) const {
    if (rooms_.empty()) return true;
    const auto found = rooms_.find(to_absl(type));
    return found == rooms_.end() || found->second > 0;
  }
  void use(const std::string& type) {
    if (rooms_.empty()) return;
    const auto found = rooms_.find(to_absl(type));
    if (found != rooms_.end()) --found->second;
  }
  // It was used for nothing.
  void give_back(const std::string& type) {
    if (rooms_.empty()) return;
    const auto found = rooms_.find(to_absl(type));
    if (found != rooms_.end()) ++found->second;
  }

 private:
  absl::flat_hash_map<absl::string_view, size_t> rooms_;
};

template <typename T>
class QueueSet;

// Base of what can stand in a queue. Thread: one at a time.
template <typename T>
class Queued : public ListNode<Queued<T>> {
 public:
  // Smaller is taken first; no two jobs of a store have the same. At first its age.
  int64_t place = 0;

 private:
  friend class QueueSet<T>;
  void* lane_ = nullptr;
};

// Lifetime: owns nothing; what stands in it is removed before it is destroyed.
// A queue costs memory only while something stands in it.
template <typename T>
class QueueSet {
  using Tag = Queued<T>;
  struct Queue;
  // The jobs of one type in one queue, by place.
  struct Lane {
    Queue* queue = nullptr;
    std::string type;
    IntrusiveList<T, Tag> items;
    int64_t first = 0;
    int64_t last = 0;
  };
  struct Queue : ListNode<Queue> {
    std::string name;
    std::unordered_map<std::string, std::unique_ptr<Lane>> lanes;
    std::map<int64_t, Lane*> by_first;
    size_t size = 0;
  };

 public:
  QueueSet() = default;
  QueueSet(const QueueSet&) = delete;
  QueueSet& operator=(const QueueSet&) = delete;

  // Quick for one that stands behind all of its queue and type, or before most.
  void add(const std::string& name, const std::string& type, T& item) {
    Lane& lane = open(name, type);
    if (lane.items.empty() || item.place > lane.last) {
      lane.last = item.place;
      lane.items.push_back(item);
    } else {
      std::vector<T*> before;
      while (!lane.items.empty() && lane.items.front().place < item.place) {
        before.push_back(lane.items.pop_front());
      }
      lane.items.push_front(item);
      for (auto next = before.rbegin(); next != before.rend(); ++next) {
        lane.items.push_front(**next);
      }
    }
    item.lane_ = &lane;
    ++lane.queue->size;
    ++size_;
    place(lane);
  }
  void remove(T& item) {
    Lane& lane = *static_cast<Lane*>(item.lane_);
    static_cast<ListNode<Tag>&>(item).unlink();
    leave(lane, item);
  }
  size_t size(const std::string& name) const {
    const auto found = queues_.find(name);
    return found == queues_.end() ? 0 : found->second->size;
  }
  size_t size() const { return size_; }
  void clear() {
    const std::vector<TypeRoom> no_limits;
    TypeRooms rooms(no_limits);
    Selection all(*this, rooms);
    while (all.next() != nullptr) {
    }
  }

  // Takes one job after the other. What has no room is looked at once, not once a job.
  // Lifetime: nothing else uses the set meanwhile.
  class Selection {
   public:
    Selection(QueueSet& set, TypeRooms& rooms) : set_(set), rooms_(rooms) {}
    Selection(const Selection&) = delete;
    Selection& operator=(const Selection&) = delete;
    ~Selection() {
      for (Lane* lane : full_lanes_) lane->queue->by_first.emplace(lane->first, lane);
      for (auto queue = full_queues_.rbegin(); queue != full_queues_.rend(); ++queue) {
        set_.turns_.push_front(**queue);
      }
    }
    // Null when there is none that has room.
    T* next() {
      while (!set_.turns_.empty()) {
        Queue& queue = set_.turns_.front();
        Lane* lane = lane_with_room(queue);
        if (lane == nullptr) {
          full_queues_.push_back(set_.turns_.pop_front());
          continue;
        }
        set_.turns_.push_back(queue);
        rooms_.use(lane->type);
        T* item = lane->items.pop_front();
        set_.leave(*lane, *item);
        return item;
      }
      return nullptr;
    }

   private:
    Lane* lane_with_room(Queue& queue) {
      while (!queue.by_first.empty()) {
        Lane* lane = queue.by_first.begin()->second;
        if (rooms_.has(lane->type)) return lane;
        full_lanes_.push_back(lane);
        queue.by_first.erase(queue.by_first.begin());
      }
      return nullptr;
    }
    QueueSet& set_;
    TypeRooms& rooms_;
    std::vector<Lane*> full_lanes_;
    std::vector<Queue*> full_queues_;
  };

 private:
  Lane& open(const std::string& name, const std::string& type) {
    std::unique_ptr<Queue>& queue = queues_[name];
    if (queue == nullptr) {
      queue = std::make_unique<Queue>();
      queue->name = name;
      turns_.push_back(*queue);
    }
    std::unique_ptr<Lane>& lane = queue->lanes[type];
    if (lane == nullptr) {
      lane = std::make_unique<Lane>();
      lane->queue = queue.get();
      lane->type = type;
    }
    return *lane;
  }
  // After its front may have changed.
  void place(Lane& lane) {
    const int64_t first = lane.items.front().place;
    if (first == lane.first) return;
    auto node = lane.queue->by_first.extract(lane.first);
    lane.first = first;
    if (node.empty()) {
      lane.queue->by_first.emplace(first, &lane);
    } else {
      node.key() = first;
      lane.queue->by_first.insert(std::move(node));
    }
  }
  void leave(Lane& lane, T& item) {
    item.lane_ = nullptr;
    --size_;
    Queue& queue = *lane.queue;
    if (--queue.size == 0) {
      queues_.erase(std::string(queue.name));
    } else if (lane.items.empty()) {
      queue.by_first.erase(lane.first);
      queue.lanes.erase(std::string(lane.type));
    } else {
      place(lane);
    }
  }

  std::unordered_map<std::string, std::unique_ptr<Queue>> queues_;
  IntrusiveList<Queue, Queue> turns_;
  size_t size_ = 0;
};

}  // namespace weft
