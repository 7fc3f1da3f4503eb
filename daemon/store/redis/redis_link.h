// RedisLink: one open connection to Redis: its socket, what waits for answers on it, and its end.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <weft/base/ring.h>
#include <weft/base/status.h>
#include <weft/runtime/event.h>
#include <weft/runtime/event_loop.h>
#include <weft/runtime/fd_watch.h>
#include <weft/store/redis/redis_command.h>
#include <weft/store/redis/redis_reader.h>
#include <weft/store/redis/redis_reply.h>

namespace weft {

// Who asked. Exactly one of the two is called, once, unless forget() was.
class RedisAsker {
 public:
  virtual void answered(RedisReply reply) = 0;
  // The connection ended first: the command may have been carried out.
  virtual void failed(const Status& why) = 0;

 protected:
  ~RedisAsker() = default;
};

struct RedisLinkOptions {
  int64_t answer_ms = 0;  // an answer that takes longer ends the link
  int64_t ping_ms = 0;    // a link so long without a word is asked; 0: never
  size_t in_flight = 0;
  size_t in_flight_bytes = 0;
};

class RedisLinkOwner {
 public:
  // Each may send(), none may destroy the link.
  // Before the asker hears of it. False: the link has to end.
  virtual bool on_error_reply(const RedisReply& reply) = 0;
  virtual void on_push(RedisReply reply) = 0;     // a message of a channel
  virtual void on_room() = 0;                     // answers have come
  virtual void on_timeout() = 0;                  // before on_closed()
  virtual void on_closed(const Status& why) = 0;  // after all askers failed; once

 protected:
  ~RedisLinkOwner() = default;
};

// Commands of a turn are written at its end with one call. While any is unanswered, virtual time
// stands still. The deadline is that of the oldest command, counted from its writing.
// Thread: the loop's. Lifetime: outlived by its owner and askers; run() has ended before it ends.
class RedisLink final : private PollTarget, private TurnEndHook, private Timer {
 public:
  RedisLink(std::unique_ptr<OwnedFd> fd, RedisLinkOptions options, RedisLinkOwner& owner);
  ~RedisLink();

  // Reads until the link is closed.
  Task<void> run();

  bool open() const { return open_; }
  bool has_room(size_t bytes) const;
  size_t unanswered() const { return sent_.size(); }
  // Returns what forget() wants. `asker` null: nobody waits. REQUIRES: open().
  uint64_t send(std::string_view command, RedisAsker* asker);
  void forget(uint64_t ticket) { sent_[ticket - answered_].asker = nullptr; }
  // From here on messages of channels may come between the answers.
  void expect_pushes() { pushes_ = true; }
  void set_answer_ms(int64_t answer_ms) { options_.answer_ms = answer_ms; }
  // Fails what is unanswered; run() returns.
  void close(const Status& why);

 private:
  struct Sent {
    RedisAsker* asker;
    size_t bytes;
    int64_t written_ns;
  };
  void on_events(uint32_t events) override;
  void on_turn_end() override;
  void fire() override;
  // True: there may be more to read.
  bool read_some();
  void on_reply(RedisReply reply);
  void write_some();
  void request_write();
  int64_t next_look_ns();
  void look_at(int64_t time_ns);

  EventLoop& loop_;
  std::unique_ptr<OwnedFd> fd_;
  RedisLinkOptions options_;
  RedisLinkOwner& owner_;
  RedisReader reader_;
  Event readable_;
  bool peer_ended_ = false;
  bool writable_ = true;
  bool open_ = true;
  bool pushes_ = false;
  std::string out_;
  size_t out_written_ = 0;
  Ring<Sent> sent_;
  size_t stamped_ = 0;     // the first so many of sent_ have a time
  uint64_t answered_ = 0;  // the ticket of the first one
  size_t bytes_ = 0;       // of all of sent_
  int64_t heard_ns_ = 0;   // or spoke, when nothing was unanswered
  int64_t look_ns_ = 0;    // when the timer fires
};

}  // namespace weft
