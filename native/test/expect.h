// What standalone C++ tests count and say. From any thread.
#pragma once

#include <atomic>
#include <cstdio>

inline std::atomic<int> failures{0};

inline void expect(bool ok, const char* what) {
  if (ok) return;
  failures++;
  printf("failed: %s\n", what);
}

// The last line of a test, and what main() returns.
inline int report(const char* test) {
  printf("%s: %d failures\n", test, failures.load());
  return failures.load() ? 1 : 0;
}
