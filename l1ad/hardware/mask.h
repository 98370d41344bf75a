#ifndef L1AD_MASK_H_
#define L1AD_MASK_H_

namespace nnet {

struct mask_config {
    static const unsigned n_in = 1;
    static const unsigned n_by = 1;
    static const unsigned reuse_factor = 1;
};

// Element i of x where element column[i] of `by` is not 0, else 0: objects that are absent do not count.
template <class x_T, class by_T, class res_T, typename CONFIG_T>
void mask(x_T x[CONFIG_T::n_in], by_T by[CONFIG_T::n_by], res_T res[CONFIG_T::n_in],
          typename CONFIG_T::column_t column[CONFIG_T::n_in]) {
    #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
    for (unsigned i = 0; i < CONFIG_T::n_in; i++) {
        #pragma HLS UNROLL
        if (by[column[i]] != 0)
            res[i] = x[i];
        else
            res[i] = 0;
    }
}

} // namespace nnet

#endif
