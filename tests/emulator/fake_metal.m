/* fake_metal.m - see fake_metal.h. */
#import <Metal/Metal.h>

#include "backend/gpu/gpu.h"
#include "backend/gpu/metal/metal_text.h"
#include "emulator/emulator.h"
#include "emulator/fake_metal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const char *sel_getName(SEL selector);

enum { MOST_INDEX = 31, MOST_BYTES = 4096, PAGE = 4096, MOST_SUBMITTERS = 8 };

@interface NSError (Fake)
+ (id)errorWithText:(const char *)text;
@end

static fake_metal_limits limits;
static fake_metal_counts count;
static const char       *misuse;
static uint32_t          fail_at[FAKE_N_KINDS];
static bool              backwards, was_requested, has_worked_since;
static pthread_t         submitter[MOST_SUBMITTERS];

fake_metal_limits *fake_metal_reset(void)
{
    const int32_t n_live = count.n_live;

    limits = (fake_metal_limits){ .working_set = 48ull << 30, .max_buffer = 36ull << 30, .max_threads = 1024,
                                  .width = 32, .has_addresses = true, .has_residency = true, .is_unified = true,
                                  .has_device = true, .s_per_thread = 1e-9 };
    count = (fake_metal_counts){ .n_live = n_live };
    misuse = NULL;
    memset(fail_at, 0, sizeof fail_at);
    backwards = was_requested = has_worked_since = false;
    return &limits;
}

__attribute__((constructor)) static void begin_ordinary(void)
{
    fake_metal_reset();
}

void fake_metal_fail(fake_metal_kind kind, uint32_t number)
{
    fail_at[kind] = number;
}

fake_metal_counts fake_metal_count(void)
{
    return count;
}

const char *fake_metal_misuse(void)
{
    return misuse;
}

void fake_metal_backwards(bool on)
{
    backwards = on;
}

static void wrong(const char *what)
{
    if (!misuse) misuse = what;
}

static bool fails(fake_metal_kind kind)
{
    return fail_at[kind] > 0 && --fail_at[kind] == 0;
}

static id refused(NSError **error, const char *text)
{
    if (error) *error = [NSError errorWithText:text];
    return nil;
}

static bool is_named(SEL selector, const char *name)
{
    return strcmp(sel_getName(selector), name) == 0;
}

@interface FakeObject : NSObject
@end
@implementation FakeObject
+ (id)alloc
{
    __atomic_fetch_add(&count.n_live, 1, __ATOMIC_SEQ_CST);
    return [super alloc];
}
- (void)dealloc
{
    __atomic_fetch_sub(&count.n_live, 1, __ATOMIC_SEQ_CST);
    [super dealloc];
}
@end

@interface FakeBuffer : FakeObject <MTLBuffer> {
  @public
    uint8_t   *bytes;
    NSUInteger n_bytes, mapped;
}
@end
@implementation FakeBuffer
- (void *)contents
{
    return bytes;
}
- (NSUInteger)length
{
    return n_bytes;
}
- (NSUInteger)allocatedSize
{
    return n_bytes;
}
- (uint64_t)gpuAddress
{
    return (uint64_t)(uintptr_t)bytes;
}
- (BOOL)respondsToSelector:(SEL)selector
{
    if (is_named(selector, "gpuAddress")) return limits.has_addresses;
    return [super respondsToSelector:selector];
}
- (void)dealloc
{
    count.n_released++;
    if (mapped > 0) munmap(bytes + n_bytes + PAGE - mapped, mapped);
    [super dealloc];
}
@end

@implementation MTLCompileOptions
- (id)init
{
    fast_ = YES;                        /* as Apple's */
    return self;
}
- (void)setFastMathEnabled:(BOOL)on
{
    fast_ = on;
}
- (void)setMathMode:(MTLMathMode)mode
{
    fast_ = mode != MTLMathModeSafe;
}
- (BOOL)respondsToSelector:(SEL)selector
{
    if (is_named(selector, "setMathMode:")) return limits.has_residency;     /* of the same system */
    return [super respondsToSelector:selector];
}
@end

@interface FakeFunction : FakeObject <MTLFunction> {
  @public
    const emulator_kernel *kernel;
}
@end
@implementation FakeFunction
- (NSString *)name
{
    return [NSString stringWithUTF8String:kernel->name];
}
@end

@interface FakePipeline : FakeObject <MTLComputePipelineState> {
  @public
    const emulator_kernel *kernel;
}
@end
@implementation FakePipeline
- (NSUInteger)maxTotalThreadsPerThreadgroup
{
    return limits.max_threads;
}
- (NSUInteger)threadExecutionWidth
{
    return limits.width;
}
@end

@interface FakeLibrary : FakeObject <MTLLibrary>
@end
@implementation FakeLibrary
- (id<MTLFunction>)newFunctionWithName:(NSString *)name
{
    if (fails(FAKE_FUNCTION)) return nil;
    for (uint32_t i = 0; i < GPU_N_KERNELS; i++) {
        const emulator_kernel *k = emulator_text_kernel_get(i);
        if (strcmp(k->name, [name UTF8String]) != 0) continue;
        FakeFunction *f = [FakeFunction new];
        f->kernel = k;
        return f;
    }
    return nil;
}
@end

@interface FakeResidency : FakeObject <MTLResidencySet>
@end
@implementation FakeResidency
- (void)addAllocation:(id<MTLAllocation>)allocation
{
    if (!allocation) wrong("nothing is added to a residency set");
}
- (void)commit {}
- (void)requestResidency
{
    was_requested = true;
    has_worked_since = false;
}
- (void)endResidency
{
    if (was_requested && !has_worked_since) count.is_left_resident = true;
}
@end

/* ---- work ------------------------------------------------------------------------------------------ */

/* A launch, or a barrier where kernel is NULL. */
typedef struct fake_command {
    const emulator_kernel *kernel;
    id                     buffer[MOST_INDEX];
    NSUInteger             offset[MOST_INDEX];
    uint8_t               *args;
    uint32_t               groups[3], n_threads;
} fake_command;

@interface FakeCommandBuffer : FakeObject <MTLCommandBuffer> {
  @public
    fake_command *command;
    uint32_t      n, capacity, n_launches;
    uint64_t      n_threads;
    bool          is_encoding, is_committed, is_done, failed;
    NSError      *error;
}
@end

@interface FakeEncoder : FakeObject <MTLComputeCommandEncoder> {
  @public
    FakeCommandBuffer *into;
    FakePipeline      *pipeline;
    id                 buffer[MOST_INDEX];
    NSUInteger         offset[MOST_INDEX];
    uint8_t            bytes[MOST_BYTES];
    NSUInteger         n_bytes;
    bool               has_ended;
}
@end

static void run_launch(const fake_command *c, FakeCommandBuffer *of)
{
    void *buffer[GPU_MAX_BUFFERS];

    for (uint32_t i = 0; i < c->kernel->n_buffers; i++)
        buffer[i] = (uint8_t *)[c->buffer[i + 1] contents] + c->offset[i + 1];
    const emulator_launch l = { .call = c->kernel->call, .name = c->kernel->name, .args = c->args, .buffer = buffer,
                                .groups = { c->groups[0], c->groups[1], c->groups[2] }, .n_threads = c->n_threads };
    const char           *told = emulator_run(&l);
    if (!told || of->failed) return;
    of->failed = true;
    of->error = [[NSError errorWithText:told] retain];
}

/* Launches from .. to are separated by no barrier. */
static void run_together(FakeCommandBuffer *b, uint32_t from, uint32_t to)
{
    for (uint32_t i = 0; i < to - from && !b->failed; i++) run_launch(&b->command[backwards ? to - 1 - i : from + i], b);
}

@implementation FakeCommandBuffer
- (id<MTLComputeCommandEncoder>)computeCommandEncoderWithDispatchType:(MTLDispatchType)type
{
    if (is_encoding || is_committed) wrong("an encoder is asked for while another is open, or too late");
    FakeEncoder *e = [FakeEncoder new];
    e->into = self;
    is_encoding = true;
    if (type != MTLDispatchTypeConcurrent) wrong("the encoder is not concurrent");
    return [e autorelease];
}
- (void)commit
{
    if (is_encoding) wrong("commit while an encoder is open");
    if (is_committed) wrong("a command buffer is committed twice");
    is_committed = true;
    has_worked_since = true;
    count.n_commits++;
    if (n_launches > count.n_most_launches) count.n_most_launches = n_launches;
    if (n_threads > count.most_threads) count.most_threads = n_threads;
    for (uint32_t i = 0; i < count.n_submitters; i++) {
        if (pthread_equal(submitter[i], pthread_self())) return;
    }
    if (count.n_submitters < MOST_SUBMITTERS) submitter[count.n_submitters++] = pthread_self();
}
- (void)waitUntilCompleted
{
    if (!is_committed) {
        wrong("a command buffer is waited for before it is committed");
        return;
    }
    if (is_done) return;
    is_done = true;
    if (fails(FAKE_WORK)) {
        failed = true;
        error = [[NSError errorWithText:"Caused GPU Timeout Error"] retain];
        return;
    }
    for (uint32_t from = 0, to; from < n; from = to + 1) {
        for (to = from; to < n && command[to].kernel; to++) continue;
        run_together(self, from, to);
    }
}
- (MTLCommandBufferStatus)status
{
    return !is_committed ? MTLCommandBufferStatusNotEnqueued
           : !is_done    ? MTLCommandBufferStatusCommitted
           : failed      ? MTLCommandBufferStatusError
                         : MTLCommandBufferStatusCompleted;
}
- (NSError *)error
{
    return error;
}
- (CFTimeInterval)GPUStartTime
{
    return 1.0;
}
- (CFTimeInterval)GPUEndTime
{
    return 1.0 + limits.s_per_thread * (double)n_threads;
}
- (void)dealloc
{
    if (is_committed && !is_done) wrong("a command buffer is released while it is under way");
    for (uint32_t i = 0; i < n; i++) {
        for (int k = 0; k < MOST_INDEX; k++) [command[i].buffer[k] release];
        free(command[i].args);
    }
    free(command);
    [error release];
    [super dealloc];
}
@end

static fake_command *add_command(FakeCommandBuffer *b)
{
    if (b->n == b->capacity) {
        b->capacity = b->capacity ? 2 * b->capacity : 64;
        b->command = realloc(b->command, b->capacity * sizeof *b->command);
        if (!b->command) abort();
    }
    memset(&b->command[b->n], 0, sizeof *b->command);
    return &b->command[b->n++];
}

@implementation FakeEncoder
- (bool)isOpen
{
    if (has_ended) wrong("an encoder is used after endEncoding");
    return !has_ended;
}
- (void)setComputePipelineState:(id<MTLComputePipelineState>)state
{
    if (![self isOpen]) return;
    [(id)state retain];
    [pipeline release];
    pipeline = (FakePipeline *)state;
}
- (void)setBuffer:(id<MTLBuffer>)given offset:(NSUInteger)at atIndex:(NSUInteger)index
{
    if (![self isOpen]) return;
    if (index >= MOST_INDEX) {
        wrong("a buffer index above 30");
        return;
    }
    if (!given || at >= [given length]) wrong("an offset behind the end of a buffer");
    if (at % 4 != 0) wrong("an offset that is no multiple of 4");
    [(id)given retain];
    [buffer[index] release];
    buffer[index] = (id)given;
    offset[index] = at;
}
- (void)setBytes:(const void *)given length:(NSUInteger)length atIndex:(NSUInteger)index
{
    if (![self isOpen]) return;
    if (length > MOST_BYTES || index != 0) {
        wrong("setBytes with more than 4096 bytes, or not at 0");
        return;
    }
    memcpy(bytes, given, length);
    n_bytes = length;
}
- (void)useResources:(const id<MTLResource> [])resources count:(NSUInteger)n usage:(MTLResourceUsage)usage
{
    (void)usage;
    if (limits.has_residency) wrong("resources are named though a residency set has them");
    for (NSUInteger i = 0; i < n; i++) {
        if (!resources[i]) wrong("no resource is named");
    }
}
- (void)dispatchThreadgroups:(MTLSize)groups threadsPerThreadgroup:(MTLSize)threads
{
    const NSUInteger n = threads.width * threads.height * threads.depth;

    if (![self isOpen]) return;
    if (!pipeline || n_bytes != pipeline->kernel->args_bytes) {
        wrong("a dispatch without a pipeline or without its arguments");
        return;
    }
    if (n == 0 || n > limits.max_threads || groups.width * groups.height * groups.depth == 0)
        wrong("a grid without groups, or groups without threads or with too many");
    fake_command *c = add_command(into);
    c->kernel = pipeline->kernel;
    for (uint32_t i = 1; i <= c->kernel->n_buffers; i++) {
        if (!buffer[i]) wrong("a dispatch with a buffer that is not bound");
        c->buffer[i] = [buffer[i] retain];
        c->offset[i] = offset[i];
    }
    c->args = malloc(n_bytes ? n_bytes : 1);
    if (!c->args) abort();
    memcpy(c->args, bytes, n_bytes);
    c->groups[0] = (uint32_t)groups.width, c->groups[1] = (uint32_t)groups.height;
    c->groups[2] = (uint32_t)groups.depth, c->n_threads = (uint32_t)n;
    into->n_launches++;
    into->n_threads += groups.width * groups.height * groups.depth * n;
    count.n_launches++;
}
- (void)memoryBarrierWithScope:(MTLBarrierScope)scope
{
    if (![self isOpen]) return;
    if (scope != MTLBarrierScopeBuffers) wrong("a barrier that is not for buffers");
    add_command(into);
    count.n_barriers++;
}
- (void)endEncoding
{
    if (![self isOpen]) return;
    has_ended = true;
    into->is_encoding = false;
}
- (void)dealloc
{
    if (!has_ended) wrong("an encoder is released before endEncoding");
    [pipeline release];
    for (int i = 0; i < MOST_INDEX; i++) [buffer[i] release];
    [super dealloc];
}
@end

/* ---- queue and device ------------------------------------------------------------------------------ */

@interface FakeQueue : FakeObject <MTLCommandQueue>
@end
@implementation FakeQueue
- (id<MTLCommandBuffer>)commandBuffer
{
    if (fails(FAKE_COMMAND_BUFFER)) return nil;
    return [[FakeCommandBuffer new] autorelease];
}
- (void)addResidencySet:(id<MTLResidencySet>)set
{
    if (!set) wrong("no residency set is given to a queue");
}
@end

@interface FakeDevice : FakeObject <MTLDevice>
@end
@implementation FakeDevice
- (NSString *)name
{
    return [NSString stringWithUTF8String:"Fake M0"];
}
- (BOOL)hasUnifiedMemory
{
    return limits.is_unified;
}
- (uint64_t)recommendedMaxWorkingSetSize
{
    return limits.working_set;
}
- (NSUInteger)currentAllocatedSize
{
    return 0;
}
- (NSUInteger)maxBufferLength
{
    return limits.max_buffer;
}
- (NSUInteger)maxThreadgroupMemoryLength
{
    return 32 << 10;
}
- (BOOL)respondsToSelector:(SEL)selector
{
    if (is_named(selector, "newResidencySetWithDescriptor:error:")) return limits.has_residency;
    return [super respondsToSelector:selector];
}
- (id<MTLCommandQueue>)newCommandQueue
{
    return fails(FAKE_QUEUE) ? nil : [FakeQueue new];
}
- (id<MTLBuffer>)newBufferWithLength:(NSUInteger)length options:(MTLResourceOptions)options
{
    (void)options;
    if (length == 0) wrong("a buffer without bytes");
    if (length > limits.max_buffer || fails(FAKE_BUFFER)) return nil;
    const NSUInteger room = (length + PAGE - 1) / PAGE * PAGE;
    uint8_t *map = mmap(NULL, room + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return nil;
    mprotect(map + room, PAGE, PROT_NONE);
    FakeBuffer *b = [FakeBuffer new];
    b->n_bytes = length;
    b->mapped = room + PAGE;
    b->bytes = map + room - length;
    memset(b->bytes, 0xcd, length);
    count.n_made++;
    return b;
}
- (id<MTLBuffer>)newBufferWithBytesNoCopy:(void *)pointer
                                   length:(NSUInteger)length
                                  options:(MTLResourceOptions)options
                              deallocator:(void (^)(void *, NSUInteger))deallocator
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

    (void)options;
    if (deallocator) wrong("memory of the host is given away");
    if ((uintptr_t)pointer % page != 0 || length % page != 0 || length == 0) {
        wrong("memory of the host that is no whole pages");
        return nil;
    }
    if (length > limits.max_buffer || fails(FAKE_VIEW)) return nil;
    FakeBuffer *b = [FakeBuffer new];
    b->bytes = pointer;
    b->n_bytes = length;
    count.n_made++;
    count.n_views++;
    return b;
}
- (id<MTLLibrary>)newLibraryWithSource:(NSString *)source
                               options:(MTLCompileOptions *)options
                                 error:(NSError **)error
{
    if (!options || options->fast_) wrong("kernels are compiled with fast math");
    if (fails(FAKE_LIBRARY)) return refused(error, "program_source:1:1: error: unknown type name 'kernel'");
    if (strcmp([source UTF8String], metal_text) != 0) return refused(error, "this text was not built into the emulator");
    return [FakeLibrary new];
}
- (id<MTLComputePipelineState>)newComputePipelineStateWithDescriptor:(MTLComputePipelineDescriptor *)descriptor
                                                             options:(MTLPipelineOption)options
                                                          reflection:(MTLComputePipelineReflection **)reflection
                                                               error:(NSError **)error
{
    (void)options;
    (void)reflection;
    if (fails(FAKE_PIPELINE)) return refused(error, "Compute function exceeds available registers");
    if (!descriptor->function_) {
        wrong("a pipeline without a function");
        return nil;
    }
    FakePipeline *p = [FakePipeline new];
    p->kernel = ((FakeFunction *)descriptor->function_)->kernel;
    return p;
}
- (id<MTLResidencySet>)newResidencySetWithDescriptor:(MTLResidencySetDescriptor *)descriptor error:(NSError **)error
{
    if (!descriptor) wrong("a residency set without a descriptor");
    if (fails(FAKE_RESIDENCY)) return refused(error, "out of memory");
    return [FakeResidency new];
}
@end

id<MTLDevice> MTLCreateSystemDefaultDevice(void)
{
    return limits.has_device ? [FakeDevice new] : nil;
}
