// WaitingJobs: the queued jobs of a store, and what a take gets of them.
#pragma once

#include <string>

#include <weft/store/job_store.h>
#include <weft/store/queue_set.h>

namespace weft {

// Suspects stand apart: they hold up nobody, and a take that may have one gets one first, so that
// they are not held up either. Thread, Lifetime: as QueueSet.
template <typename T>
class WaitingJobs {
 public:
  void add(const std::string& queue, const std::string& type, T& job, bool suspect) {
    (suspect ? suspects_ : others_).add(queue, type, job);
  }
  void remove(T& job, bool suspect) { (suspect ? suspects_ : others_).remove(job); }
  size_t size(const std::string& queue) const {
    return others_.size(queue) + suspects_.size(queue);
  }
  size_t size() const { return others_.size() + suspects_.size(); }
  size_t suspects() const { return suspects_.size(); }
  void clear() {
    suspects_.clear();
    others_.clear();
  }

  // One take. Lifetime: shorter than that of the request; nothing else uses the jobs meanwhile.
  class Take {
   public:
    Take(WaitingJobs& jobs, const TakeRequest& request)
        : rooms_(request.type_room),
          suspects_(jobs.suspects_, rooms_),
          others_(jobs.others_, rooms_),
          suspect_(request.suspect) {}
    // Null when there is none for this worker.
    T* next() {
      if (std::exchange(suspect_, false)) {
        if (T* job = suspects_.next()) return job;
      }
      return others_.next();
    }
    // The last one, of that type, is not started after all: another may be in its stead.
    void give_back_room(const std::string& type, bool suspect) {
      rooms_.give_back(type);
      if (suspect) suspect_ = true;
    }

   private:
    TypeRooms rooms_;
    typename QueueSet<T>::Selection suspects_;
    typename QueueSet<T>::Selection others_;
    bool suspect_;
  };

 private:
  QueueSet<T> suspects_;
  QueueSet<T> others_;
};

}  // namespace weft
