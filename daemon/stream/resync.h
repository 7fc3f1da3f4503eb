// Resync: after news may have been missed, asks the store how the streams in use stand. Private to
// daemon/stream.
#pragma once

#include <cstdint>
#include <vector>

#include <weft/runtime/event.h>
#include <weft/store/store.h>
#include <weft/stream/stream_state.h>

namespace weft::internal {

// Thread: the loop's. Lifetime: part of its hub. Limits: kGets records at a time, and no stream is
// waiting twice.
class Resync {
 public:
  explicit Resync(HubImpl& hub) : hub_(hub) {}

  // All streams that are in use now.
  void want();
  // Until cancelled. While the store is UNAVAILABLE it tries ever less often.
  Task<void> run();

 private:
  static constexpr size_t kGets = 64;

  // A stream as it was known when the news stopped; the store must know at least as much of it.
  struct Known {
    StreamStatePtr state;
    uint64_t committed;
    uint64_t seen_up_to;
    uint64_t attempt_sequence;
    bool over;  // succeeded or cancelled, and that is for ever
  };

  Task<bool> ask_for_records();
  Task<bool> ask_for_record(const Known& known);
  Task<bool> ask_for_readers();

  HubImpl& hub_;
  std::vector<Known> records_;           // to be asked for
  std::vector<StreamStatePtr> written_;  // whose readers elsewhere are to be asked for
  Event wake_;
};

}  // namespace weft::internal
