/* markers.h - spelling of the special tokens that make up a prompt. */
#ifndef DS4_TEXT_MARKERS_H
#define DS4_TEXT_MARKERS_H

/* The bar is U+FF5C, the low line is U+2581. */
#define DS4_MARK_BOS         "<｜begin▁of▁sentence｜>"
#define DS4_MARK_EOS         "<｜end▁of▁sentence｜>"
#define DS4_MARK_USER        "<｜User｜>"
#define DS4_MARK_ASSISTANT   "<｜Assistant｜>"
#define DS4_MARK_THINK       "<think>"
#define DS4_MARK_THINK_CLOSE "</think>"
#define DS4_MARK_DSML        "｜DSML｜"
#define DS4_MARK_REMINDER    "<｜latest_reminder｜>"
#define DS4_MARK_FIM_BEGIN   "<｜fim▁begin｜>"
#define DS4_MARK_FIM_HOLE    "<｜fim▁hole｜>"
#define DS4_MARK_FIM_END     "<｜fim▁end｜>"
#define DS4_MARK_EOT         "<|EOT|>"
#define DS4_MARK_SYSTEM      "<｜System｜>"

#endif
