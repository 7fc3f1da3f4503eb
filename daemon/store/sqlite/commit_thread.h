// CommitThread: group commit. What queued up during one transaction goes into the next together.
#pragma once

#include <memory>

#include <weft/store/sqlite/operation_thread.h>
#include <weft/store/sqlite/writer.h>

namespace weft {

// Owns the writing connection's transactions and the checkpoints between them. A transaction that
// fails is rolled back, memory is read from the file again, and every operation in it is answered
// UNAVAILABLE. A failed fsync or a damaged file ends the process with a message: nobody can know
// what is stored.
class CommitThread final : public OperationThread {
 public:
  CommitThread(BatchReceiver& receiver, Database& database, Writer& writer);
  ~CommitThread() override { stop(); }

 private:
  BatchResult process(OperationList batch) override;
  void after_batch() override;
  void on_stop() override;
  void use_durability(Durability durability);
  void checkpoint(int mode);
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
};

}  // namespace weft
