// StoreWrapper: passes every verb on to another store; tests override what they want to go wrong.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <weft/store/store.h>

namespace weft::testing {

class StoreWrapper : public Store {
 public:
  explicit StoreWrapper(std::unique_ptr<Store> wrapped) : inner(std::move(wrapped)) {}

  Task<std::vector<StatusOr<Submitted>>> submit(std::vector<v1::JobSpec> specs) override {
    return inner->submit(std::move(specs));
  }
  Task<StatusOr<Taken>> settle_and_take(std::vector<Settlement> settlements,
                                        TakeRequest take) override {
    return inner->settle_and_take(std::move(settlements), std::move(take));
  }
  Task<StatusOr<Promoted>> promote(size_t max_jobs) override { return inner->promote(max_jobs); }
  Task<std::vector<Status>> release(std::vector<Token> tokens) override {
    return inner->release(std::move(tokens));
  }
  Task<std::vector<Status>> save_progress(
      std::vector<std::pair<Token, v1::Progress>> progress) override {
    return inner->save_progress(std::move(progress));
  }
  Task<StatusOr<v1::CancelResponse>> cancel(std::string job_id, std::string reason) override {
    return inner->cancel(std::move(job_id), std::move(reason));
  }
  Task<StatusOr<v1::Job>> get(std::string job_id, bool with_payload) override {
    return inner->get(std::move(job_id), with_payload);
  }
  Task<StatusOr<JobPage>> list(JobFilter filter, std::string position, size_t max_jobs) override {
    return inner->list(std::move(filter), std::move(position), max_jobs);
  }
  Task<StatusOr<v1::Job>> retry(std::string job_id) override {
    return inner->retry(std::move(job_id));
  }
  Task<Status> remove(std::string job_id) override { return inner->remove(std::move(job_id)); }
  Task<StatusOr<size_t>> sweep(size_t max_items) override { return inner->sweep(max_items); }
  Task<std::vector<Status>> append(std::vector<Append> appends) override {
    return inner->append(std::move(appends));
  }
  Task<StatusOr<StreamPage>> read(std::string job_id, uint64_t from_sequence,
                                  size_t max_bytes) override {
    return inner->read(std::move(job_id), from_sequence, max_bytes);
  }
  Task<Status> trim(std::string job_id, uint64_t first_sequence) override {
    return inner->trim(std::move(job_id), first_sequence);
  }
  Task<StatusOr<uint64_t>> send(std::string job_id, std::string sender, uint64_t number,
                                std::string value) override {
    return inner->send(std::move(job_id), std::move(sender), number, std::move(value));
  }
  Task<StatusOr<std::vector<StoredSend>>> read_sends(std::string job_id, uint64_t after) override {
    return inner->read_sends(std::move(job_id), after);
  }
  void consumed(const Token& token, uint64_t number) override { inner->consumed(token, number); }
  void follow(const std::string& job_id, StreamReaders readers) override {
    inner->follow(job_id, readers);
  }
  void detach_readers(const std::string& job_id, Incarnation from,
                      uint64_t first_sequence) override {
    inner->detach_readers(job_id, from, first_sequence);
  }
  Task<StatusOr<std::vector<RemoteReaders>>> remote_readers(
      std::vector<std::string> job_ids) override {
    return inner->remote_readers(std::move(job_ids));
  }
  Task<StatusOr<uint64_t>> put_schedule(v1::Schedule schedule, uint64_t expected,
                                        std::optional<int64_t> wake_ms) override {
    return inner->put_schedule(std::move(schedule), expected, wake_ms);
  }
  Task<StatusOr<StoredSchedule>> get_schedule(std::string name) override {
    return inner->get_schedule(std::move(name));
  }
  Task<Status> remove_schedule(std::string name, uint64_t expected) override {
    return inner->remove_schedule(std::move(name), expected);
  }
  Task<StatusOr<std::vector<StoredSchedule>>> list_schedules(std::string after,
                                                             size_t max) override {
    return inner->list_schedules(std::move(after), max);
  }
  Task<StatusOr<DueSchedules>> due_schedules(size_t max) override {
    return inner->due_schedules(max);
  }
  void set_listener(StoreListener* listener) override { inner->set_listener(listener); }
  StoreStats stats() const override { return inner->stats(); }
  Task<void> close() override { return inner->close(); }

  std::unique_ptr<Store> inner;
};

}  // namespace weft::testing
