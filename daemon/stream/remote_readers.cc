// One stream, as far as other processes are concerned: who reads it there, and what they are told
// of those who read it here.
#include <algorithm>

#include <weft/base/limits.h>
#include <weft/stream/hub_impl.h>
#include <weft/stream/stream_state.h>

namespace weft::internal {
namespace {

bool anybody(const StreamReaders& readers) { return readers.passive + readers.attached > 0; }

}  // namespace

void RemoteReader::set(const StreamReaders& now) {
  const bool fewer = now.passive + now.attached < readers.passive + readers.attached;
  if (fewer && given_up != 0 && now.cursor >= given_up) {  // those who are left have their own time
    held_ns = 0;
    held_from = 0;
  }
  readers = now;
  cursor = anybody(now) ? std::max(now.cursor, given_up) : UINT64_MAX;
  confirmed = true;
}

StreamState::Elsewhere& StreamState::elsewhere() {
  if (elsewhere_ == nullptr) elsewhere_ = std::make_unique<Elsewhere>();
  return *elsewhere_;
}

void StreamState::set_remote(const RemoteReaders& news) {
  if (!anybody(news.readers) && elsewhere_ == nullptr) return;
  put_remote(news);
  if (!elsewhere().expecting) forget_remote([](const RemoteReader&) { return false; });
  on_remote_changed();
}

void StreamState::put_remote(const RemoteReaders& news) {
  std::vector<RemoteReader>& all = elsewhere().readers;
  auto known = std::find_if(all.begin(), all.end(),
                            [&](const RemoteReader& remote) { return remote.from == news.from; });
  if (known == all.end()) {
    if (all.size() >= limits::kRemoteReaders) return;
    known = all.emplace(all.end(), news.from);
  }
  known->set(news.readers);
}

template <typename F>
void StreamState::forget_remote(F gone) {
  std::vector<RemoteReader>& all = elsewhere().readers;
  all.erase(std::remove_if(all.begin(), all.end(),
                           [&](const RemoteReader& remote) {
                             return !anybody(remote.readers) || gone(remote);
                           }),
            all.end());
}

void StreamState::on_remote_changed() {
  drop_elsewhere_if_empty();
  count_consumers();
  hold_head();
}

void StreamState::expect_remote() {
  elsewhere().expecting = true;
  for (RemoteReader& remote : elsewhere().readers) remote.confirmed = false;
}

void StreamState::replace_remote(const std::vector<RemoteReaders>& all) {
  if (elsewhere_ == nullptr || !elsewhere_->expecting) return;  // another producer meanwhile
  for (const RemoteReaders& news : all) {
    const bool newer_known = std::any_of(
        elsewhere_->readers.begin(), elsewhere_->readers.end(),
        [&](const RemoteReader& remote) { return remote.from == news.from && remote.confirmed; });
    if (!newer_known) put_remote(news);
  }
  elsewhere_->expecting = false;
  forget_remote([](const RemoteReader& remote) { return !remote.confirmed; });
  on_remote_changed();
}

void StreamState::drop_remote() {
  if (elsewhere_ == nullptr) return;
  elsewhere_->expecting = false;
  elsewhere_->readers.clear();
  on_remote_changed();
}

void StreamState::drop_elsewhere_if_empty() {
  if (elsewhere_ != nullptr && !anybody(elsewhere_->told) && !elsewhere_->expecting &&
      elsewhere_->readers.empty()) {
    elsewhere_.reset();
  }
}

void StreamState::tell_readers() {
  StreamReaders now;
  uint64_t slowest = UINT64_MAX;
  readers_.for_each([&](const Reader& reader) {
    ++(reader.attached ? now.attached : now.passive);
    if (reader.attached) now.credit = std::max(now.credit, reader.credit);
    slowest = std::min(slowest, reader.cursor);
  });
  if (anybody(now)) now.cursor = slowest;
  if (!anybody(now) && elsewhere_ == nullptr) return;
  StreamReaders& told = elsewhere().told;
  // Where they are in a stream that has ended concerns nobody.
  if (told == now || (finished && anybody(told) && anybody(now))) return;
  told = now;
  drop_elsewhere_if_empty();
  hub_.store().follow(job_id_, now);
}

void StreamState::detach_below(uint64_t first) {
  const bool all = first == UINT64_MAX;
  std::vector<Reader*> slow;
  readers_.for_each([&](Reader& reader) {
    if (all || (reader.cursor < first && !reader.opening)) slow.push_back(&reader);
  });
  for (Reader* reader : slow) {
    if (!all) {
      detach_slow(*reader);
      continue;
    }
    detach(*reader,
           retry_error(StatusCode::kResourceExhausted,
                       "job " + job_id_ + " is read through " +
                           std::to_string(limits::kRemoteReaders) +
                           " other servers, its limit: use one of those, or try again later",
                       1000));
  }
  // The worker waits to hear who is left.
  if (elsewhere_ != nullptr) elsewhere_->told.cursor = 0;
  tell_readers();
}

void StreamState::rewind(const v1::Job& job, uint64_t last_kept) {
  clear_tail();
  first_sequence = job.first_sequence();
  committed = seen_up_to = job.last_sequence();
  attempt_sequence = job.attempt_sequence();
  finished.reset();
  finished_attempt_ = 0;
  if (producer != nullptr) producer->on_lost(job.last_sequence());
  std::vector<Reader*> misled;
  readers_.for_each([&](Reader& reader) {
    reader.rewound = true;
    if (!reader.opening && reader.cursor > last_kept + 1) misled.push_back(&reader);
  });
  for (Reader* reader : misled) {
    detach(*reader, make_status(StatusCode::kDataLoss,
                                "the store has lost what it had of job " + job_id_ +
                                    " from chunk " + std::to_string(last_kept + 1) +
                                    " on, after it was read here: watch again from there"));
  }
}

}  // namespace weft::internal
