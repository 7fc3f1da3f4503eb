// Chunks per second through one process: producer → memory store → subscription, and jobs drained.
// Prints every setting; rates are per CPU second. Usage: stream_bench [chunks] [bytes]
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "tests/support/worker_bed.h"

namespace weft {
namespace {

using testing::BedOptions;
using testing::with_bed;
using testing::WorkerBed;

// CPU seconds, not wall time: the loop never sleeps here, and other programs may share the machine.
double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

double seconds_since(double start) { return cpu_seconds() - start; }

Registry handlers(size_t chunk_bytes) {
  Registry registry;
  auto stream = [chunk_bytes](Job job) -> Stream<std::string> {
    const int64_t count = std::atoll(job.payload().c_str());
    const std::string chunk(chunk_bytes, 'x');
    for (int64_t i = 0; i < count; ++i) co_yield chunk;
  };
  auto nothing = [](Job) -> Task<void> { co_return; };
  registry.add("stream", make_handler(stream));
  registry.add("nothing", make_handler(nothing));
  return registry;
}

Task<uint64_t> drain(Subscription& reader) {
  uint64_t chunks = 0;
  for (;;) {
    auto event = co_await reader.next();
    if (!event.ok() || (*event)->has_finished()) co_return chunks;
    chunks += static_cast<uint64_t>((*event)->chunks().data_size());
    reader.set_credit(chunks + 100'000);
  }
}

Task<void> one_stream(WorkerBed& bed, uint64_t chunks, size_t bytes) {
  const std::string id = co_await bed.submit("stream", std::to_string(chunks));
  const auto start = cpu_seconds();
  auto reader = co_await bed.attach(id, 100'000);
  const uint64_t got = co_await drain(*reader);
  const double took = seconds_since(start);
  const StreamHubStats stats = bed.hub.stats();
  std::printf(
      "one stream: %.0f chunks/s (%lu chunks of %zu B, memory store, credit 100000 ahead, "
      "%.0f chunks an append)\n",
      static_cast<double>(got) / took, got, bytes,
      static_cast<double>(stats.chunks_committed) / static_cast<double>(stats.appends));
}

// Fifty-one jobs; with `slow`, the first one's reader takes nothing. The rate is that of the
// others.
Task<double> many_streams(WorkerBed& bed, uint64_t chunks, bool slow) {
  std::vector<std::unique_ptr<Subscription>> readers;
  for (int i = 0; i < 51; ++i) {
    const std::string id =
        co_await bed.submit("stream", std::to_string(chunks), v1::STREAM_POLICY_PAUSE);
    readers.push_back(co_await bed.attach(id, 0));
  }
  const auto start = cpu_seconds();
  auto all = [&](TaskGroup& group) -> Task<void> {
    for (size_t i = 0; i < readers.size(); ++i) {
      if (i == 0 && slow) continue;
      readers[i]->set_credit(100'000);
      group.start([&, i]() -> Task<void> { co_await drain(*readers[i]); });
    }
    co_return;
  };
  co_await with_group(all);
  const size_t streams = slow ? 50 : 51;
  co_return static_cast<double>(streams * chunks) / seconds_since(start);
}

Task<double> many_readers(WorkerBed& bed, uint64_t chunks, bool slow) {
  const std::string id =
      co_await bed.submit("stream", std::to_string(chunks), v1::STREAM_POLICY_PAUSE);
  std::vector<std::unique_ptr<Subscription>> readers;
  for (int i = 0; i < 51; ++i) readers.push_back(co_await bed.attach(id, 0));
  const auto start = cpu_seconds();
  auto all = [&](TaskGroup& group) -> Task<void> {
    for (size_t i = 0; i < readers.size(); ++i) {
      if (i == 0 && slow) continue;
      readers[i]->set_credit(100'000);
      group.start([&, i]() -> Task<void> { co_await drain(*readers[i]); });
    }
    co_return;
  };
  co_await with_group(all);
  const size_t reading = slow ? 50 : 51;
  co_return static_cast<double>(reading * chunks) / seconds_since(start);
}

Task<void> no_op_jobs(WorkerBed& bed, size_t count) {
  std::vector<v1::JobSpec> specs(count);
  for (v1::JobSpec& spec : specs) {
    spec.set_type("nothing");
    spec.set_queue("default");
  }
  const uint64_t before = bed.worker.stats().succeeded;
  const auto start = cpu_seconds();
  const auto answers = co_await bed.store->submit(std::move(specs));
  while (bed.worker.stats().succeeded < before + count) co_await yield_now();
  std::printf("no-op jobs: %.0f/s submitted in one batch and drained (%zu jobs, memory store)\n",
              static_cast<double>(count) / seconds_since(start), answers.size());
}

Task<void> run(uint64_t chunks, size_t bytes) {
  auto body = [&](WorkerBed& bed) -> Task<void> {
    co_await one_stream(bed, chunks, bytes);
    co_await no_op_jobs(bed, 200'000);
    const uint64_t each = chunks / 51;
    const double jobs = co_await many_streams(bed, each, false);
    const double jobs_slow = co_await many_streams(bed, each, true);
    std::printf("51 jobs: %.0f chunks/s in all; %.0f without the one whose reader is slow\n", jobs,
                jobs_slow);
    const double readers = co_await many_readers(bed, each, false);
    const double readers_slow = co_await many_readers(bed, each, true);
    std::printf("51 readers of one job: %.0f chunks/s read; %.0f with one of them slow\n", readers,
                readers_slow);
  };
  Registry registry = handlers(bytes);
  co_await with_bed({}, std::move(registry), body);
}

}  // namespace
}  // namespace weft

int main(int argc, char** argv) {
  const uint64_t chunks = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 2'000'000;
  const size_t bytes = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 100;
  weft::EventLoop loop;
  loop.run(weft::run(chunks, bytes));
}
