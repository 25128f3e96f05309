#include "answer.hpp"

namespace saathii::control {

OpenCalls::Call::Call(OpenCalls& calls, std::string caller)
    : calls_(&calls), caller_(std::move(caller)) {
  calls.open_.insert(this);
  ++calls.by_caller_[caller_];
}

OpenCalls::Call::~Call() { close(); }

void OpenCalls::Call::close() noexcept {
  OpenCalls* calls = std::exchange(calls_, nullptr);
  if (calls == nullptr) {
    return;
  }
  calls->open_.erase(this);
  const auto count = calls->by_caller_.find(caller_);
  if (--count->second == 0) {
    calls->by_caller_.erase(count);
  }
  calls->sent_();
}

OpenCalls::OpenCalls(Limits limits, std::function<void()> sent)
    : limits_(limits), sent_(std::move(sent)) {}

OpenCalls::~OpenCalls() {
  for (Call* call : open_) {
    call->calls_ = nullptr;
    call->forget();
  }
}

void OpenCalls::require_room(const std::string& caller) const {
  const auto count = by_caller_.find(caller);
  if (open_.size() >= limits_.all ||
      (count != by_caller_.end() && count->second >= limits_.of_one_caller)) {
    throw Refusal("Overloaded", "too many requests are waiting already: try again");
  }
}

void OpenCalls::refuse_all(const sdbus::Error& error) noexcept {
  while (!open_.empty()) {
    (*open_.begin())->refuse(error);
  }
}

}  // namespace saathii::control
