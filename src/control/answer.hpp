#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "refusal.hpp"
#include "saathii/control/sdbus.hpp"

namespace saathii::control {

/// The calls of one connection that still wait for their answer: a bounded
/// number, so that a flood of them costs a bounded amount of memory and work.
/// Loop thread. It outlives no connection: what is waiting then is forgotten.
class OpenCalls {
 public:
  struct Limits {
    std::size_t all = 64;
    std::size_t of_one_caller = 8;
  };

  class Call {
   public:
    Call(OpenCalls& calls, std::string caller);
    virtual ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    virtual void refuse(const sdbus::Error& error) noexcept = 0;
    virtual void forget() noexcept = 0;

   protected:
    void close() noexcept;

   private:
    friend class OpenCalls;
    OpenCalls* calls_;
    std::string caller_;
  };

  /// `sent` is called after each answer.
  OpenCalls(Limits limits, std::function<void()> sent);
  ~OpenCalls();
  OpenCalls(const OpenCalls&) = delete;
  OpenCalls& operator=(const OpenCalls&) = delete;

  /// Throws Refusal where one more is too many.
  void require_room(const std::string& caller) const;
  void refuse_all(const sdbus::Error& error) noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return open_.size(); }

 private:
  const Limits limits_;
  std::function<void()> sent_;
  std::set<Call*> open_;
  std::map<std::string, std::size_t> by_caller_;
};

/// A caller's right to exactly one answer: copies share it, and the last one to
/// go says that it failed. After its connection it does nothing.
template <typename... Results>
class Answer {
 public:
  Answer(OpenCalls& calls, const std::string& caller, sdbus::Result<Results...>&& result)
      : waiting_(std::make_shared<Waiting>(calls, caller, std::move(result))) {}

  void give(const Results&... results) const noexcept {
    waiting_->settle([&](const auto& result) { result.returnResults(results...); });
  }
  void refuse(const std::exception_ptr& error) const noexcept {
    waiting_->refuse(to_bus_error(error));
  }

 private:
  class Waiting final : public OpenCalls::Call {
   public:
    Waiting(OpenCalls& calls, const std::string& caller, sdbus::Result<Results...>&& result)
        : Call(calls, caller), result_(std::move(result)) {}
    ~Waiting() override {
      if (result_) {
        refuse(make_error("com.saathiiapp.Tasks1.Error.Failed", "saathiid gave no answer"));
      }
    }
    template <typename Settle>
    void settle(Settle&& settle_with) noexcept {
      if (!result_) {
        return;
      }
      const sdbus::Result<Results...> result = std::move(*result_);
      result_.reset();
      try {
        settle_with(result);
      } catch (const std::exception&) {
        // The connection is lost, and with it who asked.
      }
      close();
    }
    void refuse(const sdbus::Error& error) noexcept override {
      settle([&](const auto& result) { result.returnError(error); });
    }
    void forget() noexcept override { result_.reset(); }

   private:
    std::optional<sdbus::Result<Results...>> result_;
  };

  std::shared_ptr<Waiting> waiting_;
};

}  // namespace saathii::control
