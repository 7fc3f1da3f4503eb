// RedisNews: what other processes tell this one, and which streams it wants to be told of.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <functional>
#include <string>
#include <vector>

#include <weft/runtime/event.h>
#include <weft/runtime/event_loop.h>
#include <weft/store/redis/own_tasks.h>
#include <weft/store/redis/redis_connection.h>
#include <weft/store/store.h>

namespace weft {

// News come on a connection of their own, from the channel of this process. After each time that
// one or the other connection was lost, all that is followed is told to the server again, and the
// listener looks for what it missed: on_resync(), on_work().
// Thread: the loop's. Lifetime: its tasks are joined before it is destroyed; `commands` outlives
// it. Limits: limits::kRedisScriptItems streams of one call; news that are not understood are
// counted and dropped.
class RedisNews final : private TurnEndHook {
 public:
  using Get = std::function<Task<StatusOr<v1::Job>>(std::string job_id)>;

  // `prefix`: P of the scripts. `get`: asks for a job with its outcome. `no_lease`: is told that
  // the server knows of none, without which nothing is followed; null: it needs none.
  RedisNews(RedisConnection& commands, OwnTasks& tasks, const RedisServer& server,
            const std::string& name, RedisConnectionOptions options, std::string prefix, Get get,
            std::function<void()> no_lease);

  void set_listener(StoreListener* listener) { listener_ = listener; }
  // From now on this process is `self`. Said before run(), and when the lease was lost: what is
  // still told to the one before is heard too, and all that is followed is told again.
  void set_self(Incarnation self);
  // The other connection has just been let in.
  void on_connected() { again_.set(); }
  // Until cancelled.
  Task<void> run();

  // As StreamStore.
  void follow(const std::string& job_id, StreamReaders readers);
  void detach_readers(const std::string& job_id, Incarnation from, uint64_t first_sequence);
  Task<StatusOr<std::vector<RemoteReaders>>> remote_readers(std::vector<std::string> job_ids);
  // Returns when what follow() was told is on its way: whatever is asked for then is answered after
  // it.
  Task<void> said();

  RedisConnectionStats stats() const { return subscription_.stats(); }
  // OK while all that concerns this process reaches it.
  Status health() const;

 private:
  using Streams = std::vector<std::pair<std::string, StreamReaders>>;

  void on_turn_end() override { say(); }
  void say();
  Task<bool> tell_server(Streams streams, bool counted);
  Task<void> keep_following();
  Task<bool> follow_all();
  void on_message(const std::string& message);
  Task<void> ask_for_end(std::string job_id);

  RedisConnection& commands_;
  OwnTasks& tasks_;
  const std::string prefix_;
  const Get get_;
  const std::function<void()> no_lease_;
  StoreListener* listener_ = nullptr;
  Incarnation self_;
  RedisConnection subscription_;
  absl::flat_hash_map<std::string, StreamReaders> follows_;
  absl::flat_hash_set<std::string> unsaid_;  // of this turn
  absl::flat_hash_set<std::string> ends_;    // that are being asked for
  size_t saying_ = 0;                        // calls that are about to be sent
  Event all_said_;
  Event again_;
  bool hearing_ = false;
  uint64_t bad_messages_ = 0;
};

}  // namespace weft
