// Frame allocator: coroutine frames from per-thread free lists, with a count of those alive.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weft {

// Thread: any; each thread has its own lists. Under sanitizers every frame is a plain malloc, so
// that use after free is found.
// Limits: at most limits::kFrameCachePerClass free frames are kept per size class and thread.
void* allocate_frame(size_t bytes);
void free_frame(void* frame, size_t bytes) noexcept;

// Frames allocated minus frames freed on this thread. A loop thread's count is 0 when every task
// is gone; tests check it.
int64_t live_frames();

// Gives this thread's free lists back to the system.
void release_frame_cache() noexcept;

// Base of every promise of ours.
struct FrameAllocated {
  static void* operator new(size_t bytes) { return allocate_frame(bytes); }
  static void operator delete(void* frame, size_t bytes) { free_frame(frame, bytes); }
};

}  // namespace weft
