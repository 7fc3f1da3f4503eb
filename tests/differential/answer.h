// Answer: what a store said, as text that can be compared with what another store said.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <weft/base/status.h>
#include <weft/store/store.h>

namespace weft::testing {

// Ids are marked in the text, as stores make different ones; times stand beside it, as the clock of
// a server is not quite ours.
class Answer {
 public:
  // Words for ids; what it does not know stays.
  using Names = std::function<std::string(const std::string& id)>;

  Answer& add(const std::string& text) {
    text_ += text;
    return *this;
  }
  Answer& add(uint64_t number) { return add(std::to_string(number)); }
  Answer& add_id(const std::string& id) { return add(kBefore + id + kAfter); }
  // `id`: the job it is about, which its message may name.
  Answer& add(const Status& status, const std::string& id = "");
  Answer& add(const v1::Job& job);
  Answer& add(const StreamPage& page);
  void append(const Answer& other);

  // The whole of it failed, or part of it, because the store could not be asked.
  bool unavailable() const { return unavailable_; }
  std::string to_text(const Names& names) const;
  const std::vector<int64_t>& times_ns() const { return times_ns_; }

  std::vector<std::pair<std::string, uint64_t>> taken;  // jobs, with their attempts

 private:
  static constexpr char kBefore = '\x01';
  static constexpr char kAfter = '\x02';
  void add_bytes(const std::string& bytes);

  std::string text_;
  std::vector<int64_t> times_ns_;
  bool unavailable_ = false;
};

}  // namespace weft::testing
