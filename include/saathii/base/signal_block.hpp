#pragma once

#include <pthread.h>

#include <csignal>
#include <utility>

namespace saathii {

/// Keeps every signal away from threads that are started until lift(): all go
/// to the thread that runs the loop.
class SignalBlock {
 public:
  SignalBlock() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalBlock() { lift(); }
  SignalBlock(const SignalBlock&) = delete;
  SignalBlock& operator=(const SignalBlock&) = delete;

  void lift() {
    if (!std::exchange(lifted_, true)) {
      pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
  }

 private:
  sigset_t before_{};
  bool lifted_ = false;
};

}  // namespace saathii
