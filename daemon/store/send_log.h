// SendLog: the numbers of the values sent to one job, for their deduplication and bounds.
#pragma once

#include <cstdint>
#include <iterator>
#include <optional>
#include <string>

#include <weft/base/lazy_deque.h>
#include <weft/base/limits.h>

namespace weft {

// Knows the newest limits::kKeptSends sends; a sender is remembered while one of its sends is kept.
// Thread: one at a time.
class SendLog {
 public:
  class Entry {
   public:
    Entry(uint64_t n, std::string from, uint64_t from_number)
        : number(n), sender(std::move(from)), sender_number(from_number) {}
    uint64_t number;  // the store's
    std::string sender;
    uint64_t sender_number;
  };

  explicit SendLog(uint64_t last_number = 0) : last_(last_number) {}

  uint64_t last() const { return last_; }
  size_t kept() const { return entries_.size(); }

  // The number a repeated send got before; nothing when it is new. One that the sender skipped or
  // that is not kept any more gets the number of the sender's next one: it is not taken again.
  std::optional<uint64_t> find(const std::string& sender, uint64_t sender_number) const {
    if (sender.empty() || sender_number == 0) return std::nullopt;
    std::optional<uint64_t> next_one;
    for (auto entry = std::make_reverse_iterator(entries_.end());
         entry != std::make_reverse_iterator(entries_.begin()); ++entry) {
      if (entry->sender_number == 0 || entry->sender != sender) continue;
      if (entry->sender_number == sender_number) return entry->number;
      if (entry->sender_number < sender_number) break;
      next_one = entry->number;
    }
    return next_one;
  }

  bool full(uint64_t consumed) const { return last_ - consumed >= limits::kUnconsumedSends; }

  // Adds a send as loaded or as numbered by next(); forgets the oldest beyond the bound.
  void add(Entry entry) {
    last_ = entry.number;
    entries_.push_back(std::move(entry));
    if (entries_.size() > limits::kKeptSends) entries_.pop_front();
  }
  uint64_t next() const { return last_ + 1; }

 private:
  LazyDeque<Entry> entries_;
  uint64_t last_;
};

}  // namespace weft
