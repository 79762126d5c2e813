// What stands beside the tests' CSI driver, and is not to be had as a Go module. In the place of external-provisioner: the
// library that it is built on, and what it says to a driver. In the place of node-driver-registrar, where there is a kubelet:
// the kubelet's own protocol.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	snapshots "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const provisionedBy = "pv.kubernetes.io/provisioned-by"

type provisioner struct {
	driver     string
	controller csi.ControllerClient
	snapshots  snapshots.Interface
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the cluster")
	address := flag.String("csi-address", "", "the driver's socket")
	registry := flag.String("kubelet-registry", "", "the folder in which a kubelet looks for plug-ins, if there is one")
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	snapshotClient, err := snapshots.NewForConfig(config)
	if err != nil {
		return err
	}
	connection, err := grpc.NewClient("unix:"+*address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connecting to the driver: %w", err)
	}
	defer connection.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	info, err := csi.NewIdentityClient(connection).GetPluginInfo(ctx, &csi.GetPluginInfoRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return fmt.Errorf("asking the driver for its name: %w", err)
	}
	if *registry != "" {
		stopServing, err := register(*registry, info.GetName(), *address)
		if err != nil {
			return err
		}
		defer stopServing()
	}
	volumes := &provisioner{driver: info.GetName(), controller: csi.NewControllerClient(connection), snapshots: snapshotClient}
	controller.NewProvisionController(ctx, client, info.GetName(), volumes, controller.LeaderElection(false)).Run(ctx)
	return nil
}

// Provision makes the volume of a claim, out of a snapshot where the claim names one.
func (p *provisioner) Provision(ctx context.Context, options controller.ProvisionOptions) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	claim := options.PVC
	// As external-provisioner has it: which volumes a selector means is the controller's to find out.
	if claim.Spec.Selector != nil {
		return nil, controller.ProvisioningFinished, errors.New("claim Selector is not supported")
	}
	size := claim.Spec.Resources.Requests[v1.ResourceStorage]
	request := &csi.CreateVolumeRequest{
		Name:               options.PVName,
		CapacityRange:      &csi.CapacityRange{RequiredBytes: size.Value()},
		VolumeCapabilities: []*csi.VolumeCapability{capability()},
		Parameters:         options.StorageClass.Parameters,
	}
	if source := claim.Spec.DataSource; source != nil {
		handle, err := p.snapshot(ctx, claim.Namespace, source)
		if err != nil {
			return nil, controller.ProvisioningNoChange, err
		}
		request.VolumeContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
			Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: handle},
		}}
	}
	answer, err := p.controller.CreateVolume(ctx, request)
	if err != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("the driver: %w", err)
	}
	created := answer.GetVolume()
	mode := v1.PersistentVolumeFilesystem
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: options.PVName},
		Spec: v1.PersistentVolumeSpec{
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: *resource.NewQuantity(max(created.GetCapacityBytes(), size.Value()), resource.BinarySI)},
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			VolumeMode:                    &mode,
			PersistentVolumeSource: v1.PersistentVolumeSource{CSI: &v1.CSIPersistentVolumeSource{
				Driver: p.driver, VolumeHandle: created.GetVolumeId(), VolumeAttributes: created.GetVolumeContext(),
			}},
		},
	}, controller.ProvisioningFinished, nil
}

// Delete removes a volume that a claim has left.
func (p *provisioner) Delete(ctx context.Context, volume *v1.PersistentVolume) error {
	if volume.Annotations[provisionedBy] != p.driver || volume.Spec.CSI == nil {
		return &controller.IgnoredError{Reason: "another provisioner's volume"}
	}
	_, err := p.controller.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: volume.Spec.CSI.VolumeHandle})
	if status.Code(err) == codes.NotFound {
		return nil
	}
	return err
}

// snapshot gives the handle of a VolumeSnapshot, once it is bound both ways, ready, and of this driver.
func (p *provisioner) snapshot(ctx context.Context, namespace string, source *v1.TypedLocalObjectReference) (string, error) {
	if source.Kind != "VolumeSnapshot" || source.APIGroup == nil || *source.APIGroup != snapshotv1.GroupName {
		return "", fmt.Errorf("a volume cannot be made of a %s", source.Kind)
	}
	found, err := p.snapshots.SnapshotV1().VolumeSnapshots(namespace).Get(ctx, source.Name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	if found.Status == nil || found.Status.BoundVolumeSnapshotContentName == nil {
		return "", fmt.Errorf("VolumeSnapshot %s is not bound yet", source.Name)
	}
	content, err := p.snapshots.SnapshotV1().VolumeSnapshotContents().Get(ctx, *found.Status.BoundVolumeSnapshotContentName, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	reference := content.Spec.VolumeSnapshotRef
	if reference.UID != found.UID || reference.Namespace != namespace || reference.Name != source.Name {
		return "", fmt.Errorf("VolumeSnapshotContent %s is bound to another VolumeSnapshot", content.Name)
	}
	if content.Spec.Driver != p.driver {
		return "", fmt.Errorf("VolumeSnapshotContent %s is of driver %s", content.Name, content.Spec.Driver)
	}
	if found.Status.ReadyToUse == nil || !*found.Status.ReadyToUse {
		return "", fmt.Errorf("VolumeSnapshot %s is not ready yet", source.Name)
	}
	if content.Status == nil || content.Status.SnapshotHandle == nil {
		return "", fmt.Errorf("VolumeSnapshotContent %s has no handle", content.Name)
	}
	return *content.Status.SnapshotHandle, nil
}

func capability() *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
	}
}
