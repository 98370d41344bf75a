#ifndef L1AD_EMULATOR_H_
#define L1AD_EMULATOR_H_

#include <any>

// What the hand-written emulators around hls4ml projects derive from.  Each argument holds a pointer, of a type that
// the emulator chooses; `csim.py` finds it in the emulator's text.
namespace hls4mlEmulator {

class Model {
  public:
    virtual ~Model() = default;
    virtual void prepare_input(std::any input) = 0;
    virtual void predict() = 0;
    virtual void read_result(std::any result) = 0;
};

} // namespace hls4mlEmulator

#endif
