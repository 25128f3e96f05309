#include "answer.hpp"

namespace saathii::control {

namespace {

[[noreturn]] void throw_overloaded() {
  throw Refusal("Overloaded", "too many requests are waiting already: try again");
}

}  // namespace

OpenCalls::Call::Call(OpenCalls& calls, std::string caller) : calls_(&calls) {
  calls.open_.insert(this);
  calls.enter(*this, std::move(caller), calls.unknown_);
}

OpenCalls::Call::~Call() { close(); }

void OpenCalls::Call::admit(uid_t user, bool trusted) {
  if (calls_ == nullptr) {
    return;
  }
  std::string account = "uid " + std::to_string(user);
  const Limits& limits = calls_->limits_;
  const bool is_full = calls_->open_of(account) >= (trusted ? limits.all : limits.of_one_user) ||
                       (!trusted && calls_->untrusted_ >= limits.all);
  if (is_full) {
    throw_overloaded();
  }
  calls_->leave(*this);
  calls_->enter(*this, std::move(account), trusted ? calls_->trusted_ : calls_->untrusted_);
}

void OpenCalls::Call::close() noexcept {
  OpenCalls* calls = std::exchange(calls_, nullptr);
  if (calls == nullptr) {
    return;
  }
  calls->open_.erase(this);
  calls->leave(*this);
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
  if (unknown_ >= limits_.of_unknown_users || open_of(caller) >= limits_.of_one_user) {
    throw_overloaded();
  }
}

std::size_t OpenCalls::open_of(const std::string& account) const {
  const auto count = by_account_.find(account);
  return count == by_account_.end() ? 0 : count->second;
}

void OpenCalls::enter(Call& call, std::string account, std::size_t& group) {
  ++by_account_[account];
  ++group;
  call.account_ = std::move(account);
  call.group_ = &group;
}

void OpenCalls::leave(const Call& call) noexcept {
  const auto count = by_account_.find(call.account_);
  if (--count->second == 0) {
    by_account_.erase(count);
  }
  --*call.group_;
}

void OpenCalls::refuse_all(const sdbus::Error& error) noexcept {
  while (!open_.empty()) {
    (*open_.begin())->refuse(error);
  }
}

}  // namespace saathii::control
