// Worker: a whole weftd with handlers of one's own.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <weft/worker/registry.h>

namespace weft {

// return weft::Worker().handle("resize", resize).handle("fetch", fetch).main(argc, argv);
// Thread: main's, the only one there is yet.
class Worker {
 public:
  // Runs jobs of `type` by `function`: a coroutine that takes a Job and returns a Stream<Y>,
  // Stream<Y, S> or Task<T>; or a plain function of a PlainJob or a payload that returns a value or
  // a Generator<Y>, which runs on the executor (see make_handler). A type is added once, and none
  // of the stock ones (count, digest, echo…) is replaced; else the program stops: both are mistakes
  // of its author.
  template <typename F>
  Worker& handle(std::string type, F function, HandlerOptions options = {}) {
    add_.push_back([type = std::move(type), handler = make_handler(std::move(function)),
                    options](Registry& registry) { registry.add(type, handler, options); });
    return *this;
  }

  // Options, variables, signals, the ready line and the exit code are those of weftd, and so are
  // the stock handlers.
  int main(int argc, char** argv);

 private:
  std::vector<std::function<void(Registry&)>> add_;
};

}  // namespace weft
