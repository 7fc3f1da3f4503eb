// CommitThread: group commit. What queued up during one transaction goes into the next together.
#pragma once

#include <chrono>
#include <mutex>

#include <weft/store/sqlite/free_disk.h>
#include <weft/store/sqlite/operation_thread.h>
#include <weft/store/sqlite/writer.h>

namespace weft {

// Owns the writing connection's transactions and the checkpoints between them. A transaction that
// fails is rolled back, memory is read from the file again, and every operation in it is answered
// UNAVAILABLE; until a page can be written again, further ones fail at once. A failed fsync or a
// damaged file ends the process with a message: nobody can know what is stored.
class CommitThread final : public OperationThread {
 public:
  CommitThread(BatchReceiver& receiver, Database& database, Writer& writer,
               uint64_t free_disk_bytes);
  ~CommitThread() override { stop(); }

  // Why it cannot commit now; it tries by itself while nobody asks for anything. Any thread.
  Status health() const;
  // How things stand. On the thread, or before it starts.
  const StoreStats& stats();

 private:
  BatchResult process(OperationList batch) override;
  void after_batch() override;
  void on_stop() override;
  std::chrono::milliseconds patience() const override;
  void on_idle() override;
  void set_health(Status health);
  Status cannot_commit() const;
  void use_durability(Durability durability);
  void checkpoint(int mode);
  // Whether a transaction that has to write a page can be committed; says so in health().
  bool can_write();
  // Makes the connection and memory usable again after an error; false: not yet.
  bool recover_from_error(bool memory_differs);
  void exit_if_fatal() const;

  Database& database_;
  Writer& writer_;
  Statement begin_;
  Statement commit_;
  Durability durability_ = Durability::kPower;
  bool broken_ = false;
  int wal_pages_ = 0;
  int checkpoint_at_pages_;
  StoreStats stats_;
  FreeDisk free_disk_;
  mutable std::mutex health_mutex_;  // guards health_; the thread alone changes it
  Status health_;
};

}  // namespace weft
