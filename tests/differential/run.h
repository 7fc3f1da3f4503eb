// Run: takes several stores through one trace and compares them after every operation.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <weft/base/clock.h>
#include <weft/runtime/task.h>

#include "tests/differential/operation.h"
#include "tests/differential/subject.h"
#include "tests/differential/world.h"

namespace weft::testing {

// The first subject is what the others are compared with. All of them start empty.
using Subjects = std::vector<std::unique_ptr<Subject>>;
using MakeSubjects = std::function<Subjects()>;

// Where stores first differed.
class Difference {
 public:
  size_t operations = 0;  // of the trace, the one after which they differed included
  std::string text;
  std::vector<std::string> log;  // what was asked for
};

// On a loop of its own, with virtual time. `thorough`: looks at everything after every operation,
// not only now and then.
std::optional<Difference> run_trace(const MakeSubjects& make, const std::vector<Operation>& trace,
                                    bool thorough);

// Calls every verb of every subject once.
void warm_up(const MakeSubjects& make);

// The shortest trace found that makes stores differ, beginning with one that does.
std::vector<Operation> shrink(const MakeSubjects& make, std::vector<Operation> trace);

}  // namespace weft::testing
