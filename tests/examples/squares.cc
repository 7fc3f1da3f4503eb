// The handler that README.md shows, as it is compiled and tested here.
#include "tests/examples/squares.h"

// README begin
#include <weft/worker/registry.h>

// {"to": N} → 1, 4, 9, … as chunks. A client may send a number: counting goes on from there.
weft::Stream<std::string> squares(weft::Job job) {
  const auto to = job.payload_as<nlohmann::json>().at("to").get<int64_t>();
  for (int64_t i = 1; i <= to; ++i) {
    // CPU work goes to the executor; meanwhile the loop runs other jobs.
    const int64_t square = co_await job.offload([i] { return i * i; });
    // Waits until a reader wants more; never computes ahead of its window.
    std::optional<std::string> sent = co_yield std::to_string(square);
    if (sent) i = std::stoll(*sent);
  }
}

void register_examples(weft::Registry& registry) {
  registry.add("squares", weft::make_handler(squares));
}
// README end
