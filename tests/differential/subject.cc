// The stores of one process.
#include "tests/differential/subject.h"

#include <gtest/gtest.h>

#include <weft/store/memory/memory_store.h>
#include <weft/store/sqlite/sqlite_store.h>

namespace weft::testing {
namespace {

class LocalSubject final : public Subject {
 public:
  LocalSubject(std::string name, std::unique_ptr<Store> store)
      : Subject(std::move(name)), store_(std::move(store)) {
    store_->set_listener(&told);
  }
  Store& store(size_t) override { return *store_; }
  // There are no leases: what comes to the same.
  Task<void> lose_lease(size_t process, std::vector<Token> tokens) override {
    Incarnation next = incarnation(process);
    next.low += 0x10000;
    become(process, next);
    const auto released = co_await store_->release(std::move(tokens));
    for (const Status& status : released) EXPECT_TRUE(status.ok()) << status;
  }
  std::string counters() override { return to_text(store_->stats()); }
  Task<void> close() override { co_await store_->close(); }

 private:
  std::unique_ptr<Store> store_;
};

}  // namespace

StoreOptions small_bounds(size_t process) {
  StoreOptions options;
  options.queued_per_queue = 4;
  options.finished_per_queue = 5;
  options.take_bytes = 10'000;
  options.retention_ms = 600'000;
  options.id_seed = process + 1;
  return options;
}

std::unique_ptr<Subject> make_memory_subject() {
  return std::make_unique<LocalSubject>("memory", make_memory_store(small_bounds(0)));
}

std::unique_ptr<Subject> make_sqlite_subject(const std::string& folder) {
  auto store = open_sqlite_store(folder + "/weft.db", small_bounds(0));
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? std::make_unique<LocalSubject>("sqlite", *std::move(store)) : nullptr;
}

std::string to_text(const StoreStats& stats) {
  const std::pair<const char*, uint64_t> counters[] = {
      {"queued", stats.queued_jobs},       {"scheduled", stats.scheduled_jobs},
      {"running", stats.running_jobs},     {"finished", stats.finished_jobs},
      {"succeeded", stats.succeeded_jobs}, {"dead", stats.dead_jobs},
      {"cancelled", stats.cancelled_jobs}, {"expired", stats.expired_jobs},
      {"suspect", stats.suspect_jobs},     {"removed", stats.removed_jobs},
  };
  std::string text;
  for (const auto& [name, count] : counters)
    text += std::string(name) + " " + std::to_string(count) + " ";
  return text;
}

}  // namespace weft::testing
