// A client of one's own, awaited and blocking: built against the installed library alone.
#include <cstdio>
#include <string>

// README begin
#include <weft/client.h>

weft::Task<int> ask(std::string server) {
  weft::AsyncClient client({.server = server});
  const nlohmann::json payload{{"to", 3}};

  // The chunks of one job, as they come; a server that restarts meanwhile is waited for.
  auto numbers = co_await client.submit(weft::make_spec("numbers", payload));
  if (!numbers.ok()) co_return 1;
  weft::AsyncResultStream stream = numbers->watch();
  while (auto chunk = co_await stream.next()) {
    std::printf("number %d\n", chunk->as<nlohmann::json>().at("n").get<int>());
  }

  // The result of another.
  auto sum = co_await client.submit(weft::make_spec("sum", payload));
  if (!sum.ok()) co_return 1;
  auto result = co_await sum->result<nlohmann::json>();
  if (!result.ok()) co_return 1;
  std::printf("sum %d\n", result->get<int>());
  co_return stream.status().ok() ? 0 : 1;
}
// README end

// The same without coroutines.
int ask_blocking(const std::string& server) {
  weft::Client client({.server = server});
  const auto job = client.submit(weft::make_spec("numbers", nlohmann::json{{"to", 2}}));
  if (!job.ok()) {
    std::fprintf(stderr, "%s\n", job.status().ToString().c_str());
    return 1;
  }
  weft::ResultStream stream = client.watch({.job_id = job->id()});
  for (const weft::Chunk& chunk : stream) std::printf("chunk %s\n", chunk.bytes.c_str());
  return stream.status().ok() ? 0 : 1;
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  weft::EventLoop loop;
  const int exit_code = loop.run(ask(argv[1]));
  return exit_code != 0 ? exit_code : ask_blocking(argv[1]);
}
