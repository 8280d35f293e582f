// One life of pods, containers and images through the kubelet's own CRI client (k8s.io/cri-client).
//
// It makes every call that a kubelet makes of a runtime, the erroneous ones too, and prints one JSON line for each:
//
//	{"call": "StartContainer", "case": "running", "ok": false, "code": "Unknown", "message": "...", "answer": {...}}
//
// "case" tells calls of one name apart. The program judges nothing: whoever reads the lines does. Lines whose call is
// "event" are what the event stream brought meanwhile, in its order. The client's own log goes to standard error.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	cri "k8s.io/cri-client/pkg"
)

const (
	unknownID = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
	imageName = "registry.test/library/peer:1.0"
	noImage   = "registry.test/library/never-pulled:1.0"
)

var (
	endpoint    = flag.String("endpoint", "", "the runtime's socket, unix:///...")
	limit       = flag.Duration("timeout", time.Minute, "time for all calls together")
	present     = flag.String("image", "", "an image that the runtime has: no image is pulled or removed then")
	hostNetwork = flag.Bool("host-network", false, "pods on the host's network, for runtimes without CNI")
	logs        = flag.String("logs", "/var/log/pods", "the folder of the pods' log folders")
)

type line struct {
	Call    string `json:"call"`
	Case    string `json:"case"`
	OK      bool   `json:"ok"`
	Code    string `json:"code"`
	Message string `json:"message,omitempty"`
	Answer  any    `json:"answer,omitempty"`
}

var output = json.NewEncoder(os.Stdout)

// message renders a CRI message with its fields' proto names, defaults included, so that nothing hides in an absence.
func message(m proto.Message) any {
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return "not serializable: " + err.Error()
	}
	return json.RawMessage(text)
}

func messages[M proto.Message](list []M) []any {
	out := make([]any, 0, len(list))
	for _, m := range list {
		out = append(out, message(m))
	}
	return out
}

func report(call, which string, err error, answer any) {
	l := line{Call: call, Case: which, OK: err == nil, Code: code(err)}
	if err != nil {
		l.Message = err.Error()
	} else {
		l.Answer = answer
	}
	if err := output.Encode(l); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// code names the gRPC status; an error without one comes from the client, which refuses an answer it finds incomplete.
func code(err error) string {
	if err == nil {
		return codes.OK.String()
	}
	if errors.Is(err, io.EOF) {
		return "EOF"
	}
	if s, ok := status.FromError(err); ok {
		return s.Code().String()
	}
	return "client"
}

type session struct {
	ctx      context.Context
	runtime  internalapi.RuntimeService
	streamed internalapi.RuntimeService // the same, but its lists go over the Stream* calls
	images   internalapi.ImageManagerService
	simages  internalapi.ImageManagerService
}

func sandboxConfig(name string) *runtimeapi.PodSandboxConfig {
	uid := "uid-of-" + name
	config := &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: name, Namespace: "peers", Uid: uid},
		Hostname:     name,
		LogDirectory: *logs + "/peers_" + name + "_" + uid,
		Labels: map[string]string{
			"app":                         name,
			"io.kubernetes.pod.name":      name,
			"io.kubernetes.pod.namespace": "peers",
			"io.kubernetes.pod.uid":       uid,
		},
		Annotations: map[string]string{"peers.test/note": "kept as it is"},
		Linux:       &runtimeapi.LinuxPodSandboxConfig{},
	}
	if *hostNetwork {
		config.Hostname = "" // The host has its own.
		config.Linux.SecurityContext = &runtimeapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &runtimeapi.NamespaceOption{Network: runtimeapi.NamespaceMode_NODE},
		}
	}
	return config
}

func containerConfig(name, image string, pod *runtimeapi.PodSandboxConfig) *runtimeapi.ContainerConfig {
	labels := map[string]string{"io.kubernetes.container.name": name}
	for key, value := range pod.Labels {
		labels[key] = value
	}
	return &runtimeapi.ContainerConfig{
		Metadata:    &runtimeapi.ContainerMetadata{Name: name},
		Image:       &runtimeapi.ImageSpec{Image: image, UserSpecifiedImage: imageName},
		Command:     []string{"sleep", "1000"},
		Labels:      labels,
		Annotations: map[string]string{"io.kubernetes.container.restartCount": "0"},
		LogPath:     name + "/0.log",
		Linux: &runtimeapi.LinuxContainerConfig{
			SecurityContext: &runtimeapi.LinuxContainerSecurityContext{
				NamespaceOptions: pod.Linux.GetSecurityContext().GetNamespaceOptions(),
			},
		},
	}
}

func (s *session) sandboxes(which string, filter *runtimeapi.PodSandboxFilter) {
	list, err := s.runtime.ListPodSandbox(s.ctx, filter)
	report("ListPodSandbox", which, err, messages(list))
	list, err = s.streamed.ListPodSandbox(s.ctx, filter)
	report("StreamPodSandboxes", which, err, messages(list))
}

func (s *session) containers(which string, filter *runtimeapi.ContainerFilter) {
	list, err := s.runtime.ListContainers(s.ctx, filter)
	report("ListContainers", which, err, messages(list))
	list, err = s.streamed.ListContainers(s.ctx, filter)
	report("StreamContainers", which, err, messages(list))
}

func (s *session) sandboxStatus(which, id string) *runtimeapi.PodSandboxStatusResponse {
	answer, err := s.runtime.PodSandboxStatus(s.ctx, id, which == "verbose")
	report("PodSandboxStatus", which, err, message(answer))
	return answer
}

func (s *session) containerStatus(which, id string) {
	answer, err := s.runtime.ContainerStatus(s.ctx, id, which == "verbose")
	report("ContainerStatus", which, err, message(answer))
}

func (s *session) run(which, handler string, config *runtimeapi.PodSandboxConfig) string {
	id, err := s.runtime.RunPodSandbox(s.ctx, config, handler)
	report("RunPodSandbox", which, err, id)
	return id
}

func (s *session) create(which, sandbox string, config *runtimeapi.ContainerConfig, pod *runtimeapi.PodSandboxConfig) string {
	id, err := s.runtime.CreateContainer(s.ctx, sandbox, config, pod)
	report("CreateContainer", which, err, id)
	return id
}

func (s *session) start(which, id string) {
	report("StartContainer", which, s.runtime.StartContainer(s.ctx, id), nil)
}

func (s *session) stop(which, id string, timeout int64) {
	report("StopContainer", which, s.runtime.StopContainer(s.ctx, id, timeout), nil)
}

func (s *session) remove(which, id string) {
	report("RemoveContainer", which, s.runtime.RemoveContainer(s.ctx, id), nil)
}

func (s *session) reopen(which, id string) {
	report("ReopenContainerLog", which, s.runtime.ReopenContainerLog(s.ctx, id), nil)
}

func (s *session) update(which, id string) {
	shares := &runtimeapi.ContainerResources{Linux: &runtimeapi.LinuxContainerResources{CpuShares: 512}}
	report("UpdateContainerResources", which, s.runtime.UpdateContainerResources(s.ctx, id, shares), nil)
}

func (s *session) stopSandbox(which, id string) {
	report("StopPodSandbox", which, s.runtime.StopPodSandbox(s.ctx, id), nil)
}

func (s *session) removeSandbox(which, id string) {
	report("RemovePodSandbox", which, s.runtime.RemovePodSandbox(s.ctx, id), nil)
}

func (s *session) aboutTheRuntime() {
	version, err := s.runtime.Version(s.ctx, "0.1.0")
	report("Version", "", err, message(version))
	for _, verbose := range []bool{false, true} {
		answer, err := s.runtime.Status(s.ctx, verbose)
		report("Status", map[bool]string{false: "", true: "verbose"}[verbose], err, message(answer))
	}
	config, err := s.runtime.RuntimeConfig(s.ctx)
	report("RuntimeConfig", "", err, message(config))
	err = s.runtime.UpdateRuntimeConfig(s.ctx, &runtimeapi.RuntimeConfig{
		NetworkConfig: &runtimeapi.NetworkConfig{PodCidr: "10.88.0.0/16"},
	})
	report("UpdateRuntimeConfig", "", err, nil)
}

func (s *session) imageStatus(which, name string) *runtimeapi.ImageStatusResponse {
	answer, err := s.images.ImageStatus(s.ctx, &runtimeapi.ImageSpec{Image: name}, which == "verbose")
	report("ImageStatus", which, err, message(answer))
	return answer
}

func (s *session) pullImages() (id string) {
	s.imageStatus("not pulled", imageName)
	id, err := s.images.PullImage(s.ctx, &runtimeapi.ImageSpec{Image: imageName}, nil, sandboxConfig("puller"))
	report("PullImage", "", err, id)
	again, err := s.images.PullImage(s.ctx, &runtimeapi.ImageSpec{Image: imageName}, nil, nil)
	report("PullImage", "again", err, again)
	_, err = s.images.PullImage(s.ctx, &runtimeapi.ImageSpec{Image: "Not A Reference"}, nil, nil)
	report("PullImage", "malformed", err, nil)
	status := s.imageStatus("by name", imageName)
	s.imageStatus("verbose", imageName)
	s.imageStatus("by id", id)
	if digests := status.GetImage().GetRepoDigests(); len(digests) > 0 {
		s.imageStatus("by digest", digests[0])
	}
	list, err := s.images.ListImages(s.ctx, &runtimeapi.ImageFilter{})
	report("ListImages", "", err, messages(list))
	list, err = s.simages.ListImages(s.ctx, &runtimeapi.ImageFilter{})
	report("StreamImages", "", err, messages(list))
	usage, err := s.images.ImageFsInfo(s.ctx)
	report("ImageFsInfo", "", err, message(usage))
	return id
}

func (s *session) removeImages() {
	report("RemoveImage", "", s.images.RemoveImage(s.ctx, &runtimeapi.ImageSpec{Image: imageName}), nil)
	s.imageStatus("removed", imageName)
	report("RemoveImage", "unknown", s.images.RemoveImage(s.ctx, &runtimeapi.ImageSpec{Image: imageName}), nil)
}

func (s *session) lifeOfPods(image string) {
	pod := sandboxConfig("alpha")
	s.sandboxStatus("unknown", unknownID)
	s.sandboxStatus("empty id", "")
	sandbox := s.run("", "", pod)
	s.run("same name", "", pod)
	s.run("unknown handler", "no-such-handler", sandboxConfig("handler"))
	other := s.run("other", "", sandboxConfig("omega"))
	s.sandboxStatus("ready", sandbox)
	s.sandboxStatus("verbose", sandbox)
	s.sandboxStatus("by prefix", prefix(sandbox))

	ready := &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_READY}
	notReady := &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_NOTREADY}
	s.stopSandbox("other", other)
	s.sandboxes("all", nil)
	s.sandboxes("empty filter", &runtimeapi.PodSandboxFilter{})
	s.sandboxes("ready", &runtimeapi.PodSandboxFilter{State: ready})
	s.sandboxes("not ready", &runtimeapi.PodSandboxFilter{State: notReady})
	s.sandboxes("by id prefix", &runtimeapi.PodSandboxFilter{Id: prefix(sandbox)})
	s.sandboxes("unknown id", &runtimeapi.PodSandboxFilter{Id: unknownID})
	s.sandboxes("by label", &runtimeapi.PodSandboxFilter{LabelSelector: map[string]string{"app": "alpha"}})
	s.sandboxes("by label and state", &runtimeapi.PodSandboxFilter{
		LabelSelector: map[string]string{"app": "alpha"}, State: notReady,
	})

	main := containerConfig("main", image, pod)
	s.create("unknown sandbox", unknownID, main, pod)
	s.create("sandbox not ready", other, main, pod)
	s.create("image not present", sandbox, containerConfig("missing", noImage, pod), pod)
	container := s.create("", sandbox, main, pod)
	s.create("same name", sandbox, main, pod)
	waiting := s.create("waiting", sandbox, containerConfig("waiting", image, pod), pod)
	s.containerStatus("created", container)
	s.containerStatus("unknown", unknownID)

	s.start("unknown", unknownID)
	s.start("", container)
	s.start("running", container)
	s.containerStatus("running", container)
	s.containerStatus("verbose", container)
	s.containerStatus("by prefix", prefix(container))
	created := &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_CREATED}
	running := &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING}
	s.containers("all", nil)
	s.containers("created", &runtimeapi.ContainerFilter{State: created})
	s.containers("running", &runtimeapi.ContainerFilter{State: running})
	s.containers("by id prefix", &runtimeapi.ContainerFilter{Id: prefix(container)})
	s.containers("unknown id", &runtimeapi.ContainerFilter{Id: unknownID})
	s.containers("by sandbox", &runtimeapi.ContainerFilter{PodSandboxId: sandbox})
	s.containers("by other sandbox", &runtimeapi.ContainerFilter{PodSandboxId: other})
	s.containers("by label", &runtimeapi.ContainerFilter{
		LabelSelector: map[string]string{"io.kubernetes.container.name": "main"},
	})

	s.reopen("unknown", unknownID)
	s.reopen("created", waiting)
	s.reopen("running", container)
	s.update("unknown", unknownID)
	s.update("running", container)
	s.stop("unknown", unknownID, 0)
	s.stop("empty id", "", 0)
	s.stop("created", waiting, 0)
	s.containerStatus("stopped while created", waiting)
	s.stop("", container, 0)
	s.containerStatus("stopped", container)
	s.stop("again", container, 0)
	s.start("exited", container)
	s.reopen("exited", container)
	s.update("exited", container)
	s.remove("unknown", unknownID)
	s.remove("empty id", "")
	s.remove("", container)
	s.containerStatus("removed", container)
	s.remove("again", container)

	// The next attempt in the same sandbox is what a kubelet's restart is.
	main.Metadata.Attempt = 1
	main.LogPath = "main/1.log"
	next := s.create("next attempt", sandbox, main, pod)
	s.start("next attempt", next)
	// A command that is not in the image.
	wrong := containerConfig("wrong", image, pod)
	wrong.Command = []string{"/no-such-command"}
	wrong.Annotations["fake-cri/missing-command"] = wrong.Command[0] // A fake has no image to look into.
	if failing := s.create("no such command", sandbox, wrong, pod); failing != "" {
		s.start("no such command", failing)
		s.containerStatus("no such command", failing)
		s.remove("no such command", failing)
	}
	s.stopSandbox("", sandbox)
	s.sandboxStatus("stopped", sandbox)
	s.containerStatus("stopped with its sandbox", next)
	s.stopSandbox("again", sandbox)
	s.stopSandbox("unknown", unknownID)
	s.stopSandbox("empty id", "")
	s.removeSandbox("", sandbox)
	s.sandboxStatus("removed", sandbox)
	s.containerStatus("removed with its sandbox", next)
	s.removeSandbox("again", sandbox)
	s.removeSandbox("unknown", unknownID)
	s.removeSandbox("other", other)
	s.removalOfARunningPod(image)
	s.sandboxes("none left", nil)
	s.containers("none left", nil)
}

// removalOfARunningPod does not stop first: the runtime has to.
func (s *session) removalOfARunningPod(image string) {
	pod := sandboxConfig("hasty")
	sandbox := s.run("hasty", "", pod)
	container := s.create("hasty", sandbox, containerConfig("hasty", image, pod), pod)
	s.start("hasty", container)
	s.removeSandbox("running", sandbox)
	s.sandboxStatus("removed while running", sandbox)
	// Its name is free again.
	again := s.run("name free again", "", pod)
	s.removeSandbox("name free again", again)
}

func (s *session) whatNoFakeBuilds() {
	_, _, err := s.runtime.ExecSync(s.ctx, unknownID, []string{"true"}, time.Second)
	report("ExecSync", "", err, nil)
	_, err = s.runtime.Exec(s.ctx, &runtimeapi.ExecRequest{ContainerId: unknownID, Cmd: []string{"true"}, Stdout: true})
	report("Exec", "", err, nil)
	_, err = s.runtime.Attach(s.ctx, &runtimeapi.AttachRequest{ContainerId: unknownID, Stdout: true})
	report("Attach", "", err, nil)
	_, err = s.runtime.PortForward(s.ctx, &runtimeapi.PortForwardRequest{PodSandboxId: unknownID})
	report("PortForward", "", err, nil)
	_, err = s.runtime.ContainerStats(s.ctx, unknownID)
	report("ContainerStats", "", err, nil)
	_, err = s.runtime.ListMetricDescriptors(s.ctx)
	report("ListMetricDescriptors", "", err, nil)
	err = s.runtime.CheckpointContainer(s.ctx, &runtimeapi.CheckpointContainerRequest{ContainerId: unknownID})
	report("CheckpointContainer", "", err, nil)
	err = s.runtime.CheckpointPod(s.ctx, &runtimeapi.CheckpointPodRequest{PodSandboxId: unknownID})
	report("CheckpointPod", "", err, nil)
}

func prefix(id string) string {
	return id[:min(len(id), 13)]
}

// watcher keeps what the event stream brings, until the stream ends.
type watcher struct {
	incoming chan *runtimeapi.ContainerEventResponse
	ended    chan error
	seen     []*runtimeapi.ContainerEventResponse
	marks    map[string]bool // ids of sandboxes that are none of the story
}

func (s *session) watch() *watcher {
	w := &watcher{
		incoming: make(chan *runtimeapi.ContainerEventResponse, 1000),
		ended:    make(chan error, 1),
		marks:    make(map[string]bool),
	}
	go func() {
		w.ended <- s.runtime.GetContainerEvents(s.ctx, w.incoming, nil)
	}()
	return w
}

// await reads events until one of the given sandbox comes; false if the stream ended or the time is over.
func (w *watcher) await(sandbox string, limit time.Duration) (bool, error) {
	timeout := time.After(limit)
	for {
		select {
		case event := <-w.incoming:
			w.seen = append(w.seen, event)
			if event.ContainerId == sandbox &&
				event.ContainerEventType == runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT {
				return true, nil
			}
		case err := <-w.ended:
			return false, err
		case <-timeout:
			return false, nil
		}
	}
}

// mark runs pods of the given name until the stream brings an event of one. Events keep their order, so after a mark
// all that was sent before it has been read; before the first one the stream may not have been open on the other side.
func (s *session) mark(w *watcher, name string) (bool, error) {
	for attempt := range 50 {
		config := sandboxConfig(fmt.Sprintf("mark-%s-%d", name, attempt))
		id, err := s.runtime.RunPodSandbox(s.ctx, config, "")
		if err != nil {
			return false, err
		}
		w.marks[id] = true
		seen, err := w.await(id, 200*time.Millisecond)
		if removal := s.runtime.RemovePodSandbox(s.ctx, id); err == nil {
			err = removal
		}
		if seen || err != nil {
			return seen, err
		}
	}
	return false, errors.New("no event came")
}

func (w *watcher) report() {
	for _, event := range w.seen {
		if !w.marks[event.ContainerId] {
			report("event", "", nil, message(event))
		}
	}
}

func connect(ctx context.Context, endpoint string) (*session, error) {
	s := &session{ctx: ctx}
	var err error
	for _, streaming := range []bool{false, true} {
		runtime, err := cri.NewRemoteRuntimeServiceBuilder().WithEndpoint(endpoint).
			WithConnectionTimeout(10 * time.Second).WithUseStreaming(streaming).Build(ctx)
		if err != nil {
			return nil, err
		}
		images, err := cri.NewRemoteImageServiceBuilder().WithEndpoint(endpoint).
			WithConnectionTimeout(10 * time.Second).WithUseStreaming(streaming).Build(ctx)
		if err != nil {
			return nil, err
		}
		if streaming {
			s.streamed, s.simages = runtime, images
		} else {
			s.runtime, s.images = runtime, images
		}
	}
	return s, err
}

func main() {
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()

	s, err := connect(ctx, *endpoint)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s.aboutTheRuntime()
	image := *present
	if image == "" {
		image = s.pullImages()
	}

	w := s.watch()
	open, err := s.mark(w, "begin")
	report("GetContainerEvents", "open", err, open)
	s.lifeOfPods(image)
	if open {
		seen, err := s.mark(w, "end")
		report("GetContainerEvents", "drained", err, seen)
		w.report()
	}
	if *present == "" {
		s.removeImages()
		s.whatNoFakeBuilds()
	}
}
