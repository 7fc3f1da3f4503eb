// The slow paths: frames that no free list has, and giving the lists back.
#include <new>

#include <weft/runtime/frame_allocator.h>

namespace weft {

void* internal::allocate_new_frame(size_t bytes) {
  const size_t size_class = FrameCache::class_of(bytes);
  // A frame of a class must serve all its sizes when it comes back.
  if (WEFT_CACHED_FRAMES && size_class < FrameCache::kClasses) bytes = size_class * 16;
  void* frame = std::malloc(bytes);
  if (frame == nullptr) throw std::bad_alloc();
  return frame;
}

void release_frame_cache() noexcept {
  internal::FrameCache& cache = internal::frame_cache;
  for (size_t i = 0; i < internal::FrameCache::kClasses; ++i) {
    while (cache.free[i] != nullptr) {
      std::free(std::exchange(cache.free[i], cache.free[i]->next));
    }
    cache.count[i] = 0;
  }
}

}  // namespace weft
