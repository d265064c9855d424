// The memory that a thread works in.
#pragma once

#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "vectors.h"

#include "group.h"

// Outputs of a block, and bytes of its patches: by the sizes of caches.
constexpr Int BLOCK = 64, CACHE = 1 << 18;

// Uninitialised memory of a thread, aligned for vectors. What is small is kept for the next call: the system would have to
// hand out zeroed pages again. What is large lies on large pages where there are any: planes are written across.
class Buffer {
  public:
    T* ask(Int n) {
        if (n > size) {
            release();
            size = n;
            const Int bytes = round_up(sizeof(T) * (n + LANES), align());
            memory = static_cast<T*>(::operator new(bytes, std::align_val_t(align())));
#ifdef MADV_HUGEPAGE
            if (align() == PAGE) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
        }
        return memory;
    }
    void trim() {
        if (size * Int(sizeof(T)) > KEPT) release();
    }
    ~Buffer() { release(); }

  private:
    static constexpr Int KEPT = 1 << 20, PAGE = 2 << 20;
    T* memory = nullptr;
    Int size = 0;
    Int align() const { return size * Int(sizeof(T)) < PAGE ? 64 : PAGE; }
    void release() {
        if (memory) ::operator delete(memory, std::align_val_t(align()));
        memory = nullptr, size = 0;
    }
};

struct Scratch {
    Buffer planes, patches, products, blocks, taps;
    void trim() { planes.trim(), patches.trim(), products.trim(), blocks.trim(), taps.trim(); }
};
static thread_local Scratch scratch;

static T* zeroed(T* memory, Int n) { return static_cast<T*>(std::memset(memory, 0, sizeof(T) * n)); }

// Input fields whose patches under P outputs the cache holds.
static Int chunk_for(Int fields, Int P, Int cache) {
    Int chunk = cache / (TAPS * ORDER * P * Int(sizeof(T)));
    return std::max<Int>(1, std::min(fields, chunk));
}

// A thread's buffers for blocks of P outputs and `chunk` input fields at a time.
struct Work {
    Int P, chunk;
    T *z_of[BLOCKS], *y_of[BLOCKS];

    Work(Int P, Int chunk, Int out_fields) : P(P), chunk(chunk) {
        T *a = scratch.patches.ask(TAPS * ORDER * chunk * P), *b = scratch.products.ask(ORDER * out_fields * P);
        for (int i = 0; i < BLOCKS; i++) {
            z_of[i] = a, y_of[i] = b;
            a += COPIES_IN[i] * DIMENSION[i] * chunk * P, b += COPIES_OUT[i] * DIMENSION[i] * out_fields * P;
        }
    }
};
