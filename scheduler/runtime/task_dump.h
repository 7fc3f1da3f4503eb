// dump_tasks: what every task of a loop does right now, for people.
#pragma once

#include <cstddef>
#include <string>

#include <weft/runtime/event_loop.h>

namespace weft {

// One line a task, children below and right of the task that waits for them:
//   'main': waits for the end of 2 tasks, 12.3 s
//     'job 0a… (sleep)': waits for a timer, 0.5 s
//     a task: ready
//   … and 3 more tasks
// Thread: the loop's. Limits: `max_bytes`, limits::kDumpTasks and limits::kDumpDepth; the last line
// counts what was cut. Tasks of a generator that stands at a co_yield have nobody to stand below;
// they are only counted.
std::string dump_tasks(EventLoop& loop, size_t max_bytes);

}  // namespace weft
