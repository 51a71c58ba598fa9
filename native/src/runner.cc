#include "runner.h"

#include <cstdlib>

#include "dispatch.h"
#include "thread.h"

namespace simdgrad {

struct Runner::Worker {
  Thread thread;
};

void Runner::Queue::add(Job* job) {
  job->next = nullptr;
  (first == nullptr ? first : last->next) = job;
  last = job;
  size++;
}

Runner::Job* Runner::Queue::take() {
  Job* job = first;
  if (job != nullptr) {
    first = job->next;
    size--;
  }
  return job;
}

Runner::Job* Runner::Queue::take_all() {
  Job* all = first;
  first = nullptr;
  size = 0;
  return all;
}

void Runner::lock() { lock_briefly(lock_); }

bool Runner::post(Job* job) {
  if (closed_) return false;
  if (workers_ == nullptr) workers_ = static_cast<Worker*>(calloc(kMost, sizeof(Worker)));
  if (workers_ == nullptr) return false;
  lock();
  posted_.add(job);
  const bool wake = posted_.size > awake_ && asleep_ > 0;
  const bool start = posted_.size > awake_ + asleep_ && started_ < kMost;
  if (start) awake_++;
  unlock();
  if (start) {
    if (start_thread(&workers_[started_].thread, worker_main, this)) {
      started_++;
    } else {
      lock();
      awake_--;
      if (started_ == 0) posted_.take();
      unlock();
      if (started_ == 0) return false;
    }
  }
  posts_.fetch_add(1);
  if (wake) posts_.notify_one();
  return true;
}

Runner::Job* Runner::take_ended() {
  lock();
  Job* jobs = done_.take_all();
  told_ = false;
  unlock();
  return jobs;
}

Runner::Job* Runner::take_posted() { return posted_.take_all(); }

void Runner::close() {
  lock();
  closed_ = true;
  unlock();
  posts_.fetch_add(1);
  posts_.notify_all();
  for (int i = 0; i < started_; i++) join_thread(workers_[i].thread);
  started_ = 0;
  free(workers_);
  workers_ = nullptr;
}

void* Runner::worker_main(void* runner) {
  name_thread("simdgrad-run");
  static_cast<Runner*>(runner)->work();
  return nullptr;
}

// A thread counts as awake from its start, while it tells of the end of a job too: it looks for another one
// right after.
void Runner::work() {
  for (;;) {
    const uint32_t seen = posts_.load(std::memory_order_acquire);
    lock();
    if (closed_) {
      unlock();
      return;
    }
    Job* job = posted_.take();
    if (job != nullptr) awake_--;
    unlock();
    if (job != nullptr) {
      job->run(job);
      lock();
      done_.add(job);
      awake_++;
      const bool tells = !told_;
      told_ = true;
      unlock();
      if (tells) ended_(arg_);
      continue;
    }
    Spin spin(machine().processors > 1, true);
    while (posts_.load(std::memory_order_acquire) == seen && spin.more()) {
    }
    if (posts_.load(std::memory_order_acquire) == seen) sleep();
  }
}

void Runner::sleep() {
  lock();
  if (posted_.size == 0 && !closed_) {
    awake_--;
    asleep_++;
    const uint32_t seen = posts_.load(std::memory_order_acquire);
    unlock();
    posts_.wait(seen);
    lock();
    asleep_--;
    awake_++;
  }
  unlock();
}

}  // namespace simdgrad
