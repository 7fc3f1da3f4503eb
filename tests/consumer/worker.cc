// A worker of one's own: built against the installed library alone.
// README begin
#include <weft/worker.h>

// {"to": N} → {"n":1}, {"n":2}, … as chunks, as fast as they are read.
weft::Stream<nlohmann::json> numbers(weft::Job job) {
  const int to = job.payload_as<nlohmann::json>().at("to").get<int>();
  for (int n = 1; n <= to; ++n) co_yield nlohmann::json{{"n", n}};
}

// {"to": N} → the sum of 1 to N, as the one result.
weft::Task<nlohmann::json> sum(weft::Job job) {
  const int to = job.payload_as<nlohmann::json>().at("to").get<int>();
  co_return co_await job.offload([to] { return to * (to + 1) / 2; });
}

int main(int argc, char** argv) {
  return weft::Worker()
      .handle("numbers", numbers)
      .handle("sum", sum, {.concurrency = 8})
      .main(argc, argv);
}
// README end
