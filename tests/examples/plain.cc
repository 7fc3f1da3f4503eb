// The plain handlers that README.md shows, as they are compiled and tested here.
#include "tests/examples/plain.h"

// README begin
#include <weft/worker/registry.h>

// CPU work without a co_await is a plain function of the payload. It runs on the executor.
nlohmann::json sum(const nlohmann::json& numbers) {
  int64_t total = 0;
  for (const auto& number : numbers) total += number.get<int64_t>();
  return {{"sum", total}};
}

// A generator runs there too. It is suspended, and holds no thread, while its readers are slow.
weft::Generator<std::string> primes(weft::PlainJob job) {
  const auto to = job.payload_as<nlohmann::json>().at("to").get<int64_t>();
  for (int64_t n = 2; n <= to; ++n) {
    bool prime = true;
    for (int64_t d = 2; prime && d * d <= n; ++d) prime = n % d != 0;
    if (prime) co_yield std::to_string(n);
  }
}

void register_plain_examples(weft::Registry& registry) {
  registry.add("sum", weft::make_handler(sum));
  registry.add("primes", weft::make_handler(primes), {.concurrency = 4});
}
// README end
